"""The server's own counts of events."""

from penstock.core.events import (
    Accepted,
    AcceptFailed,
    Closed,
    DatagramDropped,
    DatagramHandled,
    HandlerFailed,
    Listening,
    MessageDropped,
    ReadingPaused,
    Refused,
    Stalled,
    StallEnded,
    Stopped,
)
from penstock.reasons import CloseReason, Refusal
from penstock.telemetry.stats import Stats


def closed(reason):
    return Closed(None, reason, bytes_in=1, bytes_out=2, duration_s=0.5)


def test_stats_count_what_happened():
    """Each kind of event under its own count; kinds that count nothing are let pass."""
    stats = Stats()
    for event in (
        Listening(None),
        Accepted(None, None),
        Accepted(None, None),
        HandlerFailed(None, ValueError()),
        closed(CloseReason.DONE),
        closed(CloseReason.RESET),
        closed(CloseReason.DONE),
        DatagramHandled(None, None),
        DatagramDropped("bad_frame", None),
        DatagramDropped("kernel_queue_full", None, 3),
        MessageDropped(None, "drop_oldest", count=2, size_bytes=20),
        Refused(Refusal.LIMIT, None, None),
        AcceptFailed("EMFILE", None, first=True),
        ReadingPaused(None),
        Stalled(["a"]),
        StallEnded(1.5),
        Stalled(["b"]),
        Stopped(),
    ):
        stats.observe(event)

    assert 2 == stats.accepted
    assert {"done": 2, "reset": 1} == dict(stats.closed)
    assert 1 == stats.handler_errors
    assert 1 == stats.datagrams
    assert {"bad_frame": 1, "kernel_queue_full": 3} == dict(stats.datagrams_dropped)
    assert {"drop_oldest": 2} == dict(stats.messages_dropped)
    assert {"limit": 1} == dict(stats.refused)
    assert {"EMFILE": 1} == dict(stats.accept_errors)
    assert (2, True, 1.5) == (stats.stalls, stats.stalled, stats.stalled_s)
