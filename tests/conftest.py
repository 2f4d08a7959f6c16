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


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.write_line(line)
