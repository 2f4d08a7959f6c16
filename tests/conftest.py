"""What all tests share: every implementation of the codecs, and a place for the figures that tests measure."""

import importlib

import pytest
from hypothesis import settings

# Machines that run tests are shared: how long one example takes says nothing.
settings.register_profile("penstock", deadline=None, print_blob=True)
settings.load_profile("penstock")

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session", params=["penstock.codecs"])
def codecs(request):
    """A module with every codec under its own name. A second implementation joins by its module's name."""
    return importlib.import_module(request.param)


@pytest.fixture(scope="session")
def figure(request):
    """A function that adds a line to the figures printed at the end of the run."""
    return request.config.stash.setdefault(FIGURES, []).append


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take over the figures of a process that ran a part of the tests (pytest-xdist)."""
    node.config.stash.setdefault(FIGURES, []).extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_sessionfinish(session):
    """Hand this process's figures to the one that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = session.config.stash.get(FIGURES, [])


def pytest_terminal_summary(terminalreporter, config):
    """Print the figures."""
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        for line in sorted(set(lines)):
            terminalreporter.write_line(line)
