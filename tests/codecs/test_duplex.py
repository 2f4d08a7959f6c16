"""One codec for each direction: what each half says, how a text names them, and which end has which."""

import re

import pytest

from penstock.codecs import NEED_DATA, Buffer, Duplex, Fixed, JsonLines, Lines, Netstring, parse_codec
from penstock.codecs.registry import mirrored, runs_a_module
from penstock.errors import ConfigurationError, TruncatedError
from penstock.testing import decode_chunks


def test_each_direction_has_its_own_frames():
    """What is received is cut by the one; what is sent is framed by the other."""
    codec = Duplex(Lines(), Netstring())

    assert [b"one", b"two"] == decode_chunks(codec, [b"on", b"e\ntw", b"o\n"]).messages
    assert ([b"one"], 4) == codec.decode_many(b"one\ntw", 10)
    assert NEED_DATA == codec.decode(Buffer(b"3:one,"))
    assert b"3:one," == codec.encode(b"one")
    assert b"1:a,0:," == codec.encode_many([b"a", b""])


def test_the_other_end_understands_both():
    """Whatever one of them sends."""
    server = Duplex(Lines(), JsonLines())
    client = server.mirrored()

    assert [b"hello"] == decode_chunks(server, [client.encode(b"hello")]).messages
    assert [{"a": 1}] == decode_chunks(client, [server.encode({"a": 1})]).messages


def test_datagrams_and_the_end_are_those_of_their_direction():
    """A datagram of a fixed size comes in, an object goes out; half a record is no message."""
    codec = Duplex(Fixed(size=4), JsonLines())

    assert (b"abcd", b"[1]") == (codec.decode_datagram(b"abcd"), codec.encode_datagram([1]).strip())
    with pytest.raises(TruncatedError):
        codec.finish(Buffer(b"ab"))


def test_limits_and_silence_are_those_of_what_is_received():
    """What is sent is held to its own, by its codec."""
    codec = parse_codec("lines:max=10,quiet=50ms/netstring:max=20")
    skipping = parse_codec("lines:on-oversize=skip/netstring")

    assert (10, 0.05, "close") == (codec.max_frame_bytes, codec.quiet_s, codec.on_oversize)
    assert ("skip", True) == (skipping.on_oversize, skipping.skips)
    assert b"20:" + b"x" * 20 + b"," == codec.encode(b"x" * 20)
    assert b"rest" == codec.decode_quiet(Buffer(b"rest"))


def test_requests_are_known_by_what_is_sent_and_replies_by_what_is_received():
    """Where the two say so; elsewhere it has neither."""

    class Numbered(JsonLines):
        def __init__(self, name):
            super().__init__()
            self.key = name

        def request_id(self, message):
            return self.key, message["id"]

        def reply_id(self, message):
            return self.key, message["id"]

    codec = Duplex(Numbered("in"), Numbered("out"))

    assert (("out", 1), ("in", 2)) == (codec.request_id({"id": 1}), codec.reply_id({"id": 2}))
    assert not hasattr(Duplex(Lines(), Lines()), "request_id")
    assert not hasattr(Duplex(Lines(), Lines()), "reply_id")


@pytest.mark.parametrize(
    ("spec", "receives", "sends"),
    [
        ("lines/netstring", "lines", "netstring"),
        ("lines:max=1KiB/length-prefixed:size=2,max=9", "lines", "length-prefixed"),
        ("delimited:delimiter=//json-lines", "delimited", "json-lines"),
    ],
)
def test_a_slash_is_between_the_two(spec, receives, sends):
    """The options of each stand behind its name; the other end has them the other way round."""
    codec, other = parse_codec(spec), parse_codec(mirrored(spec))

    assert (receives, sends, f"{receives}/{sends}") == (codec.receives.name, codec.sends.name, codec.name)
    assert (sends, receives) == (other.receives.name, other.sends.name)


@pytest.mark.parametrize("value", ["/", "a/b", r"\x2flines"])
def test_a_slash_in_a_value_is_the_values(value):
    """Unless a codec's name follows it."""
    spec = f"delimited:delimiter={value}"

    assert value.replace(r"\x2f", "/").encode() == parse_codec(spec).delimiter
    assert spec == mirrored(spec)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("lines/netstrin", "no codec is called 'netstrin'; did you mean netstring"),
        ("line/netstring", "no codec is called 'line'; did you mean line"),
        ("lines/", "no codec is called ''"),
        ("lines/raw/text", "is two codecs already"),
        ("lines/fixed", "codec fixed needs the option size"),
    ],
)
def test_each_direction_is_refused_in_its_own_words(spec, problem):
    """The other one has nothing to do with it."""
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        parse_codec(spec)


def test_either_may_be_ones_own():
    """Then to make it is to run a module."""
    assert runs_a_module("lines/mine:Codec")
    assert runs_a_module("mine:Codec/lines")
    assert not runs_a_module("lines/netstring")
