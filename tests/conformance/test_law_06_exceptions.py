"""Law 6: a handler's exception is reported once and ends its connection alone, gracefully."""

import pytest

import penstock
from penstock.core.events import EventName
from penstock.core.service import callbacks
from penstock.testing.peers import read_to_end


def react(_conn, message):
    if message == b"raise":
        raise ValueError("on purpose")
    return message


def test_one_connection_ends_and_the_others_go_on(serve, form):
    """The replies of the messages before it arrive, then EOF; the messages after it are not handled."""
    with serve(react, fails=1) as server, server.dial() as other:
        other.sendall(b"1\n")
        assert b"1\n" == other.recv(100)
        with server.dial() as peer:
            peer.sendall(b"a\nb\nraise\nc\n")
            assert b"a\nb\n" == read_to_end(peer)
        assert ["handler_error"] == server.reasons(1)

        other.sendall(b"2\n")

        assert b"2\n" == other.recv(100)
        (failure,) = server.record.of(EventName.HANDLER_FAILED)
        assert isinstance(failure.error, ValueError)
        assert failure.connection.close_reason == "handler_error"
        other.close()


def test_a_reply_that_is_no_message_of_the_codec_is_the_handlers_error(serve, form):
    """The replies before it arrive; its own connection ends, reported once."""
    replies = {b"text": "text", b"two lines": b"two\nlines"}
    with serve(lambda _conn, message: replies.get(message, message), fails=2) as server:
        for count, word in enumerate(replies, 1):
            with server.dial() as peer:
                peer.sendall(b"a\n" + word + b"\nb\n")
                assert b"a\n" == read_to_end(peer)
            assert ["handler_error"] * count == server.reasons(count)


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
@pytest.mark.parametrize("model", ["loop", "threads"])
@pytest.mark.parametrize("where", ["on_connect", "on_message", "on_close"])
def test_every_callback_may_raise(serve, engine, where, model):
    """Whichever callback raises: one report, and on_close is called all the same."""
    closed = []

    class Callbacks(penstock.Handler):
        def on_connect(self, conn):
            if where == "on_connect":
                raise ValueError(where)

        def on_message(self, conn, message):
            if where == "on_message":
                raise ValueError(where)
            return message

        def on_close(self, conn, reason):
            closed.append(str(reason))
            if where == "on_close":
                raise ValueError(where)

    with serve(callbacks(Callbacks, name="raising"), fails=1, model=model) as server:
        with server.dial() as peer:
            peer.sendall(b"a\n")
            if where == "on_close":
                peer.shutdown(1)
            read_to_end(peer)
        reasons = server.reasons(1)

    expected = "peer_closed" if where == "on_close" else "handler_error"
    assert ([expected], [expected]) == (closed, reasons)


@pytest.mark.forms(lambda form: form.has_conn)
def test_leaving_a_connection_that_ended_is_no_failure(serve, form):
    """A handler that lets the error of an ended connection pass has noticed its end, and that is all."""

    def react(conn, message):
        conn.abort()
        conn.post(b"too late")

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"a\n")
            with pytest.raises(ConnectionResetError):
                read_to_end(peer)
        assert ["aborted"] == server.reasons(1)
