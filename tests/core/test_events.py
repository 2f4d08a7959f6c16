"""Events: a class for each, under names from one list."""

import dataclasses
import importlib
import pkgutil

import pytest

from penstock.core import events
from penstock.core.events import EVENTS, Closed, DatagramDropped, Event, EventName, Stopped
from penstock.reasons import CloseReason


def test_every_name_is_a_word_for_logs():
    """Lower case and underscores, no two alike."""
    names = [str(name) for name in EventName]

    assert len(names) == len(set(names))
    assert all(name.replace("_", "").islower() and name.isascii() for name in names)


def test_every_name_has_one_class_and_every_class_its_name():
    """Whoever adds one adds the other."""
    modules = [
        importlib.import_module(found.name) for found in pkgutil.iter_modules(events.__path__, "penstock.core.events.")
    ]
    everything = [value for module in modules for value in vars(module).values()]
    kinds = [value for value in everything if isinstance(value, type) and dataclasses.is_dataclass(value)]

    assert set(EventName) == set(EVENTS)
    assert {kind.name: kind for kind in kinds} == EVENTS
    assert all(issubclass(kind, Event) for kind in kinds)


def test_what_an_event_says_has_names():
    """Beside the connection, in the order of the class: what a log line is made of."""
    event = Closed(None, CloseReason.DONE, bytes_in=1, bytes_out=2, duration_s=0.5)

    assert {"reason": CloseReason.DONE, "bytes_in": 1, "bytes_out": 2, "duration_s": 0.5} == event.fields()
    assert {"reason": "late", "listener": None, "count": 1} == DatagramDropped("late", None).fields()
    assert {} == Stopped().fields()


def test_an_event_of_the_server_has_no_connection():
    """Who reads events asks each for its connection."""
    assert Stopped().connection is None


@pytest.mark.parametrize("kind", EVENTS.values(), ids=lambda kind: kind.__name__)
def test_an_event_is_small(kind):
    """Two are made for each connection, and one for each datagram: fields, and no dictionary."""
    assert not hasattr(object.__new__(kind), "__dict__")
