"""A handler that raises what a codec would raise says that the peer broke the protocol: law 6."""

import pytest

import penstock
from penstock.core.events import EventName
from penstock.errors import BadFrameError, FrameTooLongError, ProtocolError, RemoteProtocolError

WITH_CONN = pytest.mark.forms(lambda form: form.has_conn)
ERRORS = [
    (BadFrameError("no such command"), "bad_frame"),
    (FrameTooLongError(5, 4), "frame_too_large"),
    (RemoteProtocolError("login expected"), "bad_frame"),
    (ProtocolError("login expected"), "bad_frame"),
]


@WITH_CONN
@pytest.mark.parametrize(("error", "reason"), ERRORS, ids=lambda value: type(value).__name__)
def test_the_connection_ends_with_the_reason_that_the_handler_raises(serve, form, error, reason):
    """What it posted before arrives; one event tells of it, and it is no failure of the handler's."""

    def react(conn, message):
        conn.post(b"ERR " + message)
        raise type(error)(*error.args)

    with serve(react, fails=0) as server:
        with server.dial() as peer, peer.makefile("rb") as lines:
            peer.sendall(b"what?\nmore\n")

            assert b"ERR what?\n" == lines.read()
        assert [reason] == server.reasons(1)
    (event,) = server.record.of(EventName.PROTOCOL_ERROR)

    assert (str(error), type(error)) == (str(event.error), type(event.error))


def test_what_another_connection_raises_is_no_fault_of_this_peer(serve, form):
    """A codec of ours was asked for something else: that is the handler's failure."""

    def react(conn, message):
        buffer = penstock.Buffer(b"x" * 100)
        penstock.codecs.Lines(max_frame_bytes=5).decode(buffer)

    with serve(react, fails=1) as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            assert b"" == peer.recv(100)
        assert ["handler_error"] == server.reasons(1)
