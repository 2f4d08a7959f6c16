"""A handler that returns what its codec does not send is told so in its own words, on every engine."""

import pytest

import penstock
from penstock.codecs import Lines
from penstock.core.events import EventName
from penstock.testing.peers import read_to_end


def shout(_conn, message):
    return message.decode() if message == b"text" else message


def failure_of(server):
    (failure,) = server.record.of(EventName.HANDLER_FAILED)
    return failure.error


def test_what_it_returned_and_what_the_codec_sends_is_said(serve, form):
    """Its name, its file and line. What it sent itself fails where it sent it, with its own line in the traceback."""
    with serve(shout, fails=1) as server, server.dial() as peer:
        peer.sendall(b"a\ntext\nb\n")
        assert b"a\n" == read_to_end(peer)
        server.reasons(1)
        error = failure_of(server)

        if form.is_conversation:
            assert isinstance(error, penstock.WrongTypeError)
        else:
            assert isinstance(error, penstock.WrongReplyError), error
            assert ") returned str; codec lines sends bytes" in str(error)
            assert isinstance(error.__cause__, penstock.WrongTypeError)


@pytest.mark.engines("pure", "uvloop", "blocking", "native", "attached")
@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"])
def test_it_is_named_as_it_was_written(serve, engine, bind):
    """``def`` is on the line that is named, whatever decorates it; datagrams are no different."""

    @penstock.on_message(codec=Lines())
    def wrong(message: bytes) -> str:
        return message.decode()

    line = wrong.handler.function.__code__.co_firstlineno + 1  # the decorator's is the first
    with serve(wrong, bind=bind, fails=1) as server, server.dial() as peer:
        peer.sendall(b"a\n")
        server.wait_until(lambda at_work: at_work.stats.handler_errors)

        assert str(failure_of(server)).startswith("wrong (")
        assert str(failure_of(server)).endswith(f"test_wrong_replies.py:{line}) returned str; codec lines sends bytes")


@pytest.mark.engines("pure", "native", "blocking")
def test_a_codec_of_the_users_own_says_why(serve, engine):
    """It raises a TypeError of its own, which is quoted."""

    class Numbers(Lines):
        name = "numbers"

        def encode(self, message):
            if not isinstance(message, int):
                raise TypeError("no number")
            return super().encode(b"%d" % message)

    @penstock.on_message(codec=Numbers())
    def count(message):
        return len(message) if len(message) < 3 else "many"

    with serve(count, fails=1) as server, server.dial() as peer:
        peer.sendall(b"a\nabc\n")
        assert b"1\n" == read_to_end(peer)
        server.reasons(1)

        assert str(failure_of(server)).endswith("returned what codec numbers does not send: no number")


@pytest.mark.engines("pure", "native", "blocking")
def test_a_type_error_of_the_handler_stays_its_own(serve, engine):
    """Raised in its own code, or by what it posted: the line is in the traceback."""

    def fails(conn, message):
        if message == b"post":
            conn.post("text")
        return 1 + message

    for wire in (b"post\n", b"add\n"):
        with serve(fails, fails=1) as server, server.dial() as peer:
            peer.sendall(wire)
            read_to_end(peer)
            server.reasons(1)

            assert not isinstance(failure_of(server), penstock.WrongReplyError)


ACTS = {
    "post": lambda conn: conn.post(b"own"),
    "post_frame": lambda conn: conn.post_frame(b"own\n"),
    "try_send": lambda conn: conn.try_send(b"own"),
    "set_codec": lambda conn: conn.set_codec(Lines()),
    "send_eof": lambda conn: conn.send_eof(),
}


@pytest.mark.engines("pure", "uvloop", "blocking", "native", "attached")
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("swallows", [False, True])
def test_it_is_never_raised_in_the_handler_of_a_later_message(serve, engine, act, swallows):
    """It might be swallowed there. That handler, if it is called, finds the connection closing; no other is called."""
    called, raised = [], []

    @penstock.on_message(codec="lines")
    def handle(conn, message):
        called.append(message)
        if message == b"bad":
            return 5
        if message == b"later":
            try:
                ACTS[act](conn)
            except Exception as error:
                raised.append(error)
                if not swallows:
                    raise
        return message

    with serve(handle, fails=1) as server, server.dial() as peer:
        peer.sendall(b"a\nbad\nlater\nlast\n")

        assert b"a\n" == read_to_end(peer)
        assert ["handler_error"] == server.reasons(1)
        assert isinstance(failure_of(server), penstock.WrongReplyError)
        assert b"last" not in called
        assert all(isinstance(error, penstock.ClosedError) for error in raised)
