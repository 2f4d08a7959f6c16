"""Greeter: the word within five seconds."""

import logging

import pytest

from penstock.config import Timeouts
from penstock.testing.clock import ManualClock

WELCOME = b"welcome to server!"
FAREWELL = b"please go out!"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"1\n", WELCOME),
        (b"1\r\n", WELCOME),
        (b"1", WELCOME),
        (b"2\n", FAREWELL),
        (b"11\n", FAREWELL),
        (b"\n", FAREWELL),
    ],
)
def test_streams(run, stream, model, sent, answer):
    """``1`` is welcome; anything else is not; then the server closes."""
    with run("greeter", stream, model=model) as server:
        assert answer + b"\n" == server.once(sent)


def test_only_the_first_message_counts(run, stream, model):
    """The server closes by itself: the client need not, and a second message is not answered."""
    with run("greeter", stream, model=model) as server, server.peer() as peer:
        peer.say(b"1\n2\n1\n")

        assert WELCOME + b"\n" == peer.hear_to_end()


def test_records(run, model):
    """A record is a message."""
    with run("greeter", "seqpacket", model=model) as server, server.peer() as peer:
        peer.say(b"1")

        assert WELCOME == peer.hear_to_end()


def test_datagrams(run, datagram, model):
    """A datagram is answered likewise, with or without a line's end."""
    with run("greeter", datagram, model=model) as server, server.peer() as peer:
        for sent, answer in ((b"1", WELCOME), (b"1\n", WELCOME), (b"", FAREWELL), (b"x", FAREWELL)):
            peer.sock.send(sent)
            assert answer == peer.hear()


def test_silence_is_logged_after_five_seconds(run, stream, model, caplog):
    """Not before, and whatever the server's own timeout is; the server says nothing and closes."""
    clock = ManualClock()
    options = {"clock": clock, "timeouts": Timeouts(first_message_s=None, idle_s=None, drain_s=5.0)}
    caplog.set_level(logging.INFO, logger="penstock")
    with run("greeter", stream, model=model, server_options=options) as server:
        with server.peer() as peer:
            server.wait_connections(1)
            while not server.call(lambda: clock.pending):  # until it has begun to wait
                pass
            server.call(lambda: clock.advance(4.75))
            assert [] == _said(caplog)
            server.call(lambda: clock.advance(0.25))
            assert b"" == peer.hear_to_end()
        server.wait_closed(1)

    assert ["time out"] == _said(caplog)
    assert ["first_message_timeout"] == list(server.server.stats.closed)


def _said(caplog):
    return [entry.getMessage() for entry in caplog.records if entry.getMessage() == "time out"]


def test_who_spoke_is_not_timed_out(run, caplog):
    """A guest that was greeted leaves no such line."""
    with caplog.at_level(logging.INFO, logger="penstock"), run("greeter", "tcp4") as server:
        server.once(b"1\n")

    assert [] == _said(caplog)
