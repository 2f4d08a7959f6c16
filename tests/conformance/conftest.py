"""Every law meets every engine, in every form of a handler that it serves: the fixtures are `penstock.testing`'s."""

import pytest

from penstock.testing.engines import EngineUnderTest
from penstock.testing.fixtures import pytest_configure, pytest_generate_tests, serve
from penstock.testing.forms import Form

__all__ = ["pytest_configure", "pytest_generate_tests", "serve"]


# uvloop differs from the pure engine, an attached engine from the native one, in what moves bytes and tells time. The
# drivers are the same, and so are the layers: whether a handler takes its connection, and what a layer is told, is
# tried there in make attacks. So are callbacks that a task or a thread runs: ``def`` callbacks meet what moves bytes
# at the same moments, and tasks and threads have their message handlers.
TWINS = ("uvloop", "attached")


def is_tried_on_twins(form):
    return form.has_conn and form.label not in ("async-callbacks", "threads-callbacks")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        engine, form = params.get("engine"), params.get("form")
        if not isinstance(engine, EngineUnderTest) or not engine.label.startswith(TWINS):
            continue
        if engine.tapped or (isinstance(form, Form) and not is_tried_on_twins(form)):
            item.add_marker(pytest.mark.full)


@pytest.fixture
def tally(figure):
    """A function that adds to a count; the sums are printed with the figures."""

    def add(label, count):
        if label not in _SUMS:
            _SUMS[label] = [0, figure]
        _SUMS[label][0] += count

    return add


_SUMS = {}


def pytest_sessionfinish():
    for label, (count, figure) in _SUMS.items():
        figure(f"{label}: {count}")
    _SUMS.clear()
