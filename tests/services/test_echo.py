"""Echo, byte for byte."""

import pytest


def test_streams(run, stream, model):
    """What came goes back, whatever it is."""
    payload = bytes(range(256)) * 400
    with run("echo", stream, model=model) as server:
        assert payload == server.once(payload)
        assert b"" == server.once(b"")


def test_records(run, model):
    """Each record goes back as a record."""
    with run("echo", "seqpacket", model=model) as server, server.peer() as peer:
        for record in (b"one", b"two\n", b"\0" * 1000):
            peer.say(record)
            assert record == peer.hear()


def test_datagrams(run, datagram, model):
    """Each datagram goes back, the empty one too."""
    with run("echo", datagram, model=model) as server, server.peer() as peer:
        for payload in (b"one", b"", b"two\n", b"x" * 1000):
            peer.say(payload) if payload else peer.sock.send(b"")
            assert payload == peer.hear()


def test_prefix_over_datagrams(run, datagram, model):
    """The prefix stands before each datagram."""
    with run("echo", datagram, model=model, prefix="Echo=>") as server, server.peer() as peer:
        peer.say(b"hello")

        assert b"Echo=>hello" == peer.hear()


@pytest.mark.parametrize(
    ("codec", "sent", "answer"),
    [
        ("lines", b"one\ntwo\r\n\n", b"Echo=>one\nEcho=>two\nEcho=>\n"),
        ("length-prefixed:size=1", b"\x03one\x00", b"\x09Echo=>one\x06Echo=>"),
        ("netstring", b"3:one,0:,", b"9:Echo=>one,6:Echo=>,"),
    ],
)
def test_prefix_with_a_codec(run, stream, model, codec, sent, answer):
    """The prefix stands before each message, within its frame."""
    with run("echo", stream, model=model, prefix="Echo=>", server_options={"codec": codec}) as server:
        assert answer == server.once(sent)


def test_prefix_over_the_raw_stream(run, stream):
    """A message is what one read brought: sent one at a time and waited for, each has its prefix."""
    with run("echo", stream, prefix="Écho=>") as server, server.peer() as peer:
        for message in (b"one", b"two"):
            peer.say(message)
            assert "Écho=>".encode() + message == peer.hear()
