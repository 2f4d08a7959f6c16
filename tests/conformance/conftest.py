"""Every law meets every engine, in every form of a handler that it serves: the fixtures are `penstock.testing`'s."""

import pytest

from penstock.testing.fixtures import pytest_configure, pytest_generate_tests, serve

__all__ = ["pytest_configure", "pytest_generate_tests", "serve"]


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
