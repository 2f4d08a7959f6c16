"""Hello: the server speaks first."""

import pytest

from penstock.errors import ConfigurationError

GREETING = b"Got a connection from server"


def test_streams(run, stream, model, capfd):
    """Greeting, one message printed, the end."""
    with run("hello", stream, model=model) as server:
        with server.peer() as peer:
            assert GREETING + b"\n" == peer.hear()
            peer.say(b"hi\r\nand more\n")

            assert b"" == peer.hear_to_end()
        server.wait_closed(1)
    out = capfd.readouterr().out

    assert out.endswith(": hi\n")
    assert 1 == out.count("\n")


def test_records(run, model, capfd):
    """The same in records."""
    with run("hello", "seqpacket", model=model) as server:
        with server.peer() as peer:
            assert GREETING == peer.hear()
            peer.say(b"hi")
            assert b"" == peer.hear_to_end()
        server.wait_closed(1)

    assert capfd.readouterr().out.endswith(": hi\n")


def test_an_answer_without_a_lines_end(run, stream, capfd):
    """The end of the stream ends the line."""
    with run("hello", stream) as server:
        assert GREETING + b"\n" == server.once(b"hi")
        server.wait_closed(1)

    assert capfd.readouterr().out.endswith(": hi\n")


def test_it_needs_connections(run, datagram):
    """Nobody connects with a datagram: refused at the start, with what to use instead."""
    with pytest.raises(ConfigurationError, match="hello needs connections"), run("hello", datagram):
        pass
