"""In which order services drain."""

import pytest

from penstock.app.order import waves
from penstock.errors import ConfigurationError


def test_those_that_wait_for_nobody_drain_together():
    """In the order in which they were declared."""
    assert [("b", "a")] == waves({"b": (), "a": ()})


def test_one_drains_when_all_it_waits_for_have():
    """Over several steps, whatever was declared first."""
    assert [("tracker",), ("gateway", "stats"), ("admin",)] == waves(
        {"admin": ("gateway", "tracker"), "gateway": ("tracker",), "tracker": (), "stats": ("tracker",)}
    )


def test_a_circle_is_refused():
    """Named."""
    circle = "services drain after each other: (a after b after a|b after a after b)"
    with pytest.raises(ConfigurationError, match=circle):
        waves({"a": ("b",), "b": ("a",)})


def test_a_service_that_is_not_there_is_refused():
    """With what was meant."""
    meant = r"admin drains after traker, which is no service; did you mean tracker\?"
    with pytest.raises(ConfigurationError, match=meant):
        waves({"admin": ("traker",), "tracker": ()})
