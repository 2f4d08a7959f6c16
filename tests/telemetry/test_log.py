"""Which events are worth a line, at which level, with which fields."""

import logging

import pytest

from penstock.address import Peer, parse_address
from penstock.core.events import (
    AcceptRecovered,
    Closed,
    DatagramDropped,
    FramingBroken,
    HandlerFailed,
    Refused,
    Stalled,
    StallEnded,
)
from penstock.errors import FrameTooLongError
from penstock.reasons import CloseReason, Refusal
from penstock.telemetry import ConsoleFormatter
from penstock.telemetry.log import LINES_PER_SECOND, LogObserver
from penstock.testing.clock import ManualClock


class Conn:
    """As much of a connection as a log line shows."""

    id = 7
    peer = Peer(("192.0.2.1", 5000), 2)
    local = parse_address("tcp://127.0.0.1:9000")
    is_datagram = False


def closed(reason):
    return Closed(Conn(), reason, bytes_in=1, bytes_out=2, duration_s=0.5)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG)
    return caplog


def test_a_failing_handler_is_one_error_with_its_traceback_and_its_peer(log):
    """Once, with everything needed to find it."""
    LogObserver(access=True).observe(HandlerFailed(Conn(), ZeroDivisionError("oops")))
    (record,) = log.records

    assert ("penstock", logging.ERROR, ZeroDivisionError) == (record.name, record.levelno, record.exc_info[0])
    assert ("handler_failed", 7, "192.0.2.1:5000") == (record.event, record.conn_id, record.peer)


def test_broken_framing_is_a_warning_that_says_what_was_wrong(log):
    """The peer's fault, in the codec's words."""
    error = FrameTooLongError(100, 10)
    LogObserver(access=True).observe(FramingBroken(Conn(), error))

    assert ["closing: frame of 100 bytes exceeds max_frame_bytes=10"] == [r.getMessage() for r in log.records]
    assert logging.WARNING == log.records[0].levelno


@pytest.mark.parametrize("access", [True, False])
def test_an_ended_connection_is_a_line_of_the_access_log(log, access):
    """With its reason, bytes and duration; not at all without --access-log."""
    LogObserver(access=access).observe(closed(CloseReason.PEER_CLOSED))
    records = [r for r in log.records if r.name == "penstock.access"]

    assert [("peer_closed", 1, 2, 0.5)] * access == [(r.reason, r.bytes_in, r.bytes_out, r.duration_s) for r in records]


@pytest.mark.parametrize("reason", [CloseReason.SLOW_CONSUMER, CloseReason.DRAIN_TIMEOUT])
def test_a_connection_that_was_cut_is_a_warning_in_any_case(log, reason):
    """Somebody lost bytes: that is worth a line without an access log too."""
    LogObserver(access=False).observe(closed(reason))

    assert [(logging.WARNING, f"cut: {reason}")] == [(r.levelno, r.getMessage()) for r in log.records]


LEVELS = {
    CloseReason.SLOW_CONSUMER: logging.WARNING,
    CloseReason.DRAIN_TIMEOUT: logging.WARNING,
    CloseReason.HANDED_OVER: logging.DEBUG,
}


@pytest.mark.parametrize("reason", list(CloseReason))
def test_each_end_is_one_line_of_the_access_log(log, reason):
    """Where every connection is logged, one that was cut has no second line: it stands out by its level.

    One that goes on in another process has its line there.
    """
    LogObserver(access=True).observe(closed(reason))
    level = LEVELS.get(reason, logging.INFO)

    assert [(level, f"closed: {reason}")] == [(r.levelno, r.getMessage()) for r in log.records]


def refused():
    return Refused(Refusal.LIMIT, Conn.peer, None)


def failed():
    return HandlerFailed(Conn(), ZeroDivisionError("oops"))


def violated():
    return FramingBroken(Conn(), FrameTooLongError(100, 10))


@pytest.mark.parametrize(
    ("event", "lines", "text"),
    [
        (refused, 1, "refused 192.0.2.1:5000: limit"),
        (failed, LINES_PER_SECOND, "handler failed: ZeroDivisionError: oops"),
        (violated, LINES_PER_SECOND, "closing: frame of 100 bytes exceeds max_frame_bytes=10"),
        (lambda: closed(CloseReason.SLOW_CONSUMER), LINES_PER_SECOND, "cut: slow_consumer"),
    ],
)
def test_a_flood_of_peers_is_no_flood_of_lines(log, event, lines, text):
    """So many in a second of each kind; the first line of the next second says how many were not written."""
    clock = ManualClock()
    observer = LogObserver(access=False, time=clock.time)
    for _ in range(1000):
        observer.observe(event())
    clock.advance(1.0)
    observer.observe(event())
    observer.observe(event())
    written = [record.getMessage() for record in log.records]
    after = [f"{text} (and {1000 - lines} more)", *([text] if lines > 1 else [])]

    assert [text] * lines + after == written


def test_one_kind_of_flood_hides_no_other(log):
    """A bug in a handler is seen although somebody sends rubbish all day."""
    observer = LogObserver(access=False, time=ManualClock().time)
    for _ in range(1000):
        observer.observe(violated())
    observer.observe(failed())

    assert "handler failed: ZeroDivisionError: oops" == log.records[-1].getMessage()


WHO = "conn_id=7 peer=192.0.2.1:5000 listener=…"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (lambda: closed(CloseReason.DONE), f"closed: done {WHO} bytes_in=1 bytes_out=2 duration_s=0.500"),
        (lambda: Refused(Refusal.LIMIT, Conn.peer, Conn.local), "refused 192.0.2.1:5000: limit listener=…"),
        (failed, f"handler failed: ZeroDivisionError: oops {WHO}"),
        (lambda: AcceptRecovered(3, 0.1234), "accepting again after 3 failures in 0.123 s"),
        (
            lambda: Stalled(["f (a.py:1)", "g (b.py:2)"]),
            "a handler blocks the event loop: f (a.py:1), called by g (b.py:2)",
        ),
        (lambda: StallEnded(0.25), "the event loop is free again after 0.250 s"),
        (lambda: DatagramDropped("forged", Conn.local), "datagram dropped: forged listener=… count=1"),
    ],
)
def test_a_line_for_people_says_a_thing_once(log, event, expected):
    """What the message says is no field as well; durations are to the millisecond."""
    LogObserver(access=True).observe(event())
    line = ConsoleFormatter().format(log.records[-1]).split("\n")[0].partition(" ")[2].split(" ", 2)[2]

    assert expected.replace("…", "tcp://127.0.0.1:9000") == line


def test_what_the_kernel_drops_is_a_warning_a_second_with_their_number(log):
    """The drops that no line told of are counted in the next one."""
    clock = ManualClock()
    observer = LogObserver(access=False, time=clock.time)
    for _ in range(3):
        observer.observe(DatagramDropped("kernel_queue_full", None, 10))
    clock.advance(1.0)
    observer.observe(DatagramDropped("kernel_queue_full", None, 5))

    text = "the kernel dropped {} datagram(s): they came faster than they were read; raise --receive-buffer"
    assert [(logging.WARNING, text.format(10)), (logging.WARNING, text.format(25))] == [
        (record.levelno, record.getMessage()) for record in log.records
    ]


def test_what_a_datagram_breaks_closes_nothing(log):
    """It has no connection: it is refused, and the line says so."""

    class Datagram(Conn):
        is_datagram = True

    LogObserver(access=False).observe(FramingBroken(Datagram(), FrameTooLongError(100, 10)))

    assert ["refused: frame of 100 bytes exceeds max_frame_bytes=10"] == [record.getMessage() for record in log.records]
