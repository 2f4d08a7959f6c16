"""Frames that are passed over: counted, told of, and bounded in time as any other message."""

import pytest

from penstock.codecs import Lines
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_exactly, read_to_end

each_driver = pytest.mark.forms(
    lambda form: form.label in ("def-message", "async-message", "async-connection", "def-connection", "threads-message")
)


def echo(_conn, message):
    return message


@each_driver
def test_a_frame_that_is_too_long_is_passed_over_and_counted(serve, form):
    """The connection goes on."""
    with serve(echo, codec=Lines(max_frame_bytes=8, on_oversize="skip")) as server, server.dial() as peer:
        peer.sendall(b"a\n" + b"x" * 5000 + b"\nb\n" + b"y" * 9 + b"\nc\n")
        peer.shutdown(1)

        assert b"a\nb\nc\n" == read_to_end(peer)
        assert ["peer_closed"] == server.reasons(1)
        assert 2 == server.server.stats.frames_skipped
        assert 2 == sum(event.count for event in server.record.of(EventName.FRAMES_SKIPPED))


@each_driver
def test_more_than_may_be_passed_over_closes(serve, form):
    """The stream cannot be waited for without end."""
    codec = Lines(max_frame_bytes=8, on_oversize="skip", max_skip_bytes=1000)
    with serve(echo, codec=codec) as server, server.dial() as peer:
        peer.sendall(b"a\n" + b"x" * 1001 + b"\nb\n")

        assert b"a\n" == read_to_end(peer)
        assert ["frame_too_large"] == server.reasons(1)


@each_driver
def test_its_time_is_that_of_a_message(serve, form):
    """Who never ends the frame that is passed over is closed at the message timeout."""
    codec = Lines(max_frame_bytes=8, on_oversize="skip")
    with serve(echo, codec=codec, timeouts=Timeouts(message_s=0.05, drain_s=10.0)) as server, server.dial() as peer:
        peer.sendall(b"a\n" + b"x" * 100)

        assert b"a\n" == read_to_end(peer)
        assert ["message_timeout"] == server.reasons(1)


@each_driver
def test_after_it_the_peer_owes_no_message(serve, form):
    """One that was passed over to its end is no longer waited for: its peer is idle, not late."""
    clock = ManualClock()
    timeouts = Timeouts(first_message_s=None, idle_s=64.0, message_s=4.0, drain_s=10.0)
    codec = Lines(max_frame_bytes=8, on_oversize="skip")
    with serve(echo, codec=codec, timeouts=timeouts, clock=clock) as server, server.dial() as peer:
        peer.sendall(b"a\n" + b"x" * 100)
        assert b"a\n" == read_exactly(peer, 2)
        peer.sendall(b"x\n")
        server.wait_until(lambda server: server.stats.frames_skipped == 1)
        server.call(lambda: clock.advance(8.0))
        peer.sendall(b"b\n")

        assert b"b\n" == read_exactly(peer, 2)


@each_driver
def test_the_limit_of_a_codec_is_the_one_it_has_when_its_server_starts(serve, form):
    """It may be set between two servers that have the same one."""
    codec = Lines(max_frame_bytes=100)
    for limit, answer in ((100, b"123456789\n"), (5, b""), (9, b"123456789\n")):
        codec.max_frame_bytes = limit
        with serve(echo, codec=codec) as server, server.dial() as peer:
            peer.sendall(b"123456789\n")
            peer.shutdown(1)

            assert answer == read_to_end(peer)
