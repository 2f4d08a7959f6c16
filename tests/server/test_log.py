"""Which events are worth a line, at which level, with which fields."""

import logging

import pytest

from penstock.address import Peer, parse_address
from penstock.core.events import Event, EventName
from penstock.errors import FrameTooLongError
from penstock.reasons import CloseReason
from penstock.server.log import LogObserver


class Conn:
    """As much of a connection as a log line shows."""

    id = 7
    peer = Peer(("192.0.2.1", 5000), 2)
    local = parse_address("tcp://127.0.0.1:9000")


def closed(reason):
    return Event(EventName.CLOSED, Conn(), {"reason": reason, "bytes_in": 1, "bytes_out": 2, "duration_s": 0.5})


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG)
    return caplog


def test_a_failing_handler_is_one_error_with_its_traceback_and_its_peer(log):
    """Once, with everything needed to find it."""
    LogObserver(access=True).observe(Event(EventName.HANDLER_FAILED, Conn(), {"error": ZeroDivisionError("oops")}))
    (record,) = log.records

    assert ("penstock", logging.ERROR, ZeroDivisionError) == (record.name, record.levelno, record.exc_info[0])
    assert ("handler_failed", 7, "192.0.2.1:5000") == (record.event, record.conn_id, record.peer)


def test_broken_framing_is_a_warning_that_says_what_was_wrong(log):
    """The peer's fault, in the codec's words."""
    error = FrameTooLongError(100, 10)
    LogObserver(access=True).observe(Event(EventName.PROTOCOL_ERROR, Conn(), {"error": error}))

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
