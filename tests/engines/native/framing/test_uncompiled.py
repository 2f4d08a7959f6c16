"""Codecs that frame by silence are compiled, too, once their peer ends its messages itself."""

import itertools
import socket

import pytest

import penstock
from penstock.codecs import Delimited, Lines, Text
from penstock.engines.native.engine import new_event_loop
from penstock.testing.peers import read_exactly, read_to_end
from penstock.testing.served import served

LONG = 3600.0  # no silence is that long

CODECS = [Lines(quiet_s=LONG), Text(quiet_s=LONG), Delimited(b"\n", quiet_s=LONG)]


def shout(codec, **options):
    @penstock.on_message(codec=codec, **options)
    def service(message):
        return message.upper()

    return service


@pytest.fixture
def decoded(monkeypatch):
    """How many times each codec was asked for a message."""
    asked = []

    def counting(method):
        def counted(self, *arguments):
            asked.append(method)
            return method(self, *arguments)

        return counted

    for kind, name in itertools.product((Lines, Text, Delimited), ("decode", "decode_many")):
        monkeypatch.setattr(kind, name, counting(getattr(kind, name)))
    return asked


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_the_codec_is_not_asked_again_once_its_peer_has_ended_a_message(codec, decoded):
    """Whole messages, messages that are cut in two, and many at once."""
    with served(shout(codec), engine="native", loop_factory=new_event_loop) as server, server.dial() as peer:
        peer.sendall(b"one\n")
        assert b"ONE\n" == read_exactly(peer, 4)
        asked = len(decoded)
        assert asked > 0
        sent = 4
        for piece in (b"two\n", b"th", b"ree\n", b"x\n" * 999, b"four\nfi", b"ve\n"):
            peer.sendall(piece)
            sent += len(piece)
            server.wait_until(lambda it, sent=sent: it.connections[0].bytes_in == sent)
        answer = b"TWO\nTHREE\n" + b"X\n" * 999 + b"FOUR\nFIVE\n"
        assert answer == read_exactly(peer, len(answer))

    assert asked == len(decoded)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_of_two_messages_in_one_read_the_first_settles_it(codec, decoded):
    """What follows it is cut by compiled code, and the start of the third one waits for its end."""
    with served(shout(codec), engine="native", loop_factory=new_event_loop) as server, server.dial() as peer:
        peer.sendall(b"one\ntwo\nthr")
        assert b"ONE\nTWO\n" == read_exactly(peer, 8)
        asked = len(decoded)
        peer.sendall(b"ee\n")

        assert b"THREE\n" == read_exactly(peer, 6)
    assert asked == len(decoded)


def test_where_bad_messages_are_passed_over_the_codec_stays_in_charge(decoded):
    """It says where they end."""
    service = shout(Text(quiet_s=LONG), on_bad_message="skip")
    with served(service, engine="native", loop_factory=new_event_loop) as server, server.dial() as peer:
        peer.sendall(b"one\n\xff\ntwo\n")

        assert b"ONE\nTWO\n" == read_exactly(peer, 8)
    assert len(decoded) >= 3


def test_a_codec_without_a_compiled_form_cuts_on(decoded):
    """A subclass, say: nothing is known of what it overrides."""
    own = type("Own", (Lines,), {})(quiet_s=LONG)
    with served(shout(own), engine="native", loop_factory=new_event_loop) as server, server.dial() as peer:
        for word in (b"one\n", b"two\n", b"three\n"):
            asked = len(decoded)
            peer.sendall(word)
            assert word.upper() == read_exactly(peer, len(word))
            assert len(decoded) > asked


def test_the_rest_at_eof_is_no_message_of_a_peer_that_ends_its_messages():
    """Silence counts no more, nor does this one."""
    with (
        served(shout(Lines(quiet_s=LONG)), engine="native", loop_factory=new_event_loop) as server,
        server.dial() as peer,
    ):
        peer.sendall(b"one\ntw")
        assert b"ONE\n" == read_exactly(peer, 4)
        peer.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(peer)

        assert ["truncated"] == server.reasons(1)
