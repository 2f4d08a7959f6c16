"""The input of a connection that moves: the same messages come of the same bytes, wherever it moves."""

import inspect
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.codecs.base import NEED_DATA, Codec
from penstock.codecs.cbor import Cbor
from penstock.codecs.delimited import Delimited
from penstock.codecs.duplex import Duplex
from penstock.codecs.fixed import Fixed
from penstock.codecs.gap import Gap
from penstock.codecs.json_lines import JsonLines
from penstock.codecs.json_stream import Json
from penstock.codecs.length_prefixed import LengthPrefixed
from penstock.codecs.lines import Lines
from penstock.codecs.msgpack import Msgpack
from penstock.codecs.netstring import Netstring
from penstock.codecs.raw import Raw
from penstock.codecs.resp.codec import Resp
from penstock.codecs.varint import Varint
from penstock.core.handover.codecs import named, plain_of, remembered_of, text_of
from penstock.core.handover.snapshot import Snapshot, decoded, encoded
from penstock.core.inbound import Remembered, StreamInbound
from penstock.errors import RemoteProtocolError

STREAMS = [
    (Raw(), b"some bytes"),
    (Lines(), b"one\r\ntwo\n\nthree\npart"),
    (Lines(max_frame_bytes=4, on_oversize="skip"), b"one\nmuch too long\ntwo\nagain too long"),
    (Lines(quiet_s=1.0), b"one and two\rthree"),
    (Delimited(b"--"), b"one--two---three--par-"),
    (Delimited(b"--", max_frame_bytes=4, on_oversize="skip"), b"one--much too long--two--again too"),
    (Delimited(b"abc", quiet_s=1.0), b"one abc two ab three"),
    (Gap(quiet_s=1.0), b"one two three"),
    (LengthPrefixed(), b"\0\0\0\3one\0\0\0\0\0\0\0\5th"),
    (LengthPrefixed(max_frame_bytes=4, on_oversize="skip"), b"\0\0\0\3one\0\0\0\x09much too \0\0\0\2ok\0\0\0\7ag"),
    (Varint(), b"\3one\0\5thr"),
    (Netstring(), b"3:one,0:,5:thr"),
    (Fixed(size=4), b"onetwothree"),
    (JsonLines(), b'{"a": [1, 2]}\n[3]\n"par'),
    (Json(), b'{"a": [1, 2]} [3] "par'),
    (Msgpack(), b"\x93\x01\xa3one\x92\x01\x02\xc0\x94\x01\xa3th"),
    (Cbor(), b"\x83\x01\x63one\x82\x01\x02\xf6\x84\x01\x63th"),
    (Resp(), b"*2\r\n$3\r\none\r\n:1\r\n+OK\r\n*3\r\n$4\r\nth"),
]


def moved(inbound):
    """Hand an input over, by way of plain data."""
    plain = plain_of(inbound.remembered())
    snapshot = Snapshot(
        id=1,
        service="s",
        local="tcp://127.0.0.1:1",
        peer=("127.0.0.1", 2, b""),
        codec=text_of(inbound.codec),
        state=b"\xc0",
        ages={},
        pending=inbound.pending(),
        remembered=plain,
    )
    told = decoded(encoded(snapshot))
    after = StreamInbound(inbound.codec)
    after.recall(told.pending, remembered_of(told.remembered))
    return after


def messages_of(codec, steps, *, moves):
    """Feed the steps, a piece or a silence each; move the input after those steps. Return what came of it."""
    inbound, found, skipped = StreamInbound(codec), [], []
    inbound.on_skipped = skipped.append
    try:
        for number, step in enumerate(steps):
            if step is None:
                inbound.note_silence()
            else:
                inbound.feed(step)
            while messages := inbound.take(4):
                found += messages
            if number in moves:
                inbound = moved(inbound)
                inbound.on_skipped = skipped.append
                assert [] == inbound.take(4)
        rest = inbound.finish()
        found += [] if rest is NEED_DATA else [rest]
    except RemoteProtocolError as error:
        found.append(type(error))
    return found, sum(skipped)


@pytest.mark.parametrize(("codec", "wire"), STREAMS, ids=lambda value: getattr(value, "name", ""))
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_an_input_that_moves_gives_the_messages_of_one_that_stays(codec, wire, data):
    """Wherever the network cuts the bytes, a silence falls, and the connection moves."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=6)) | {0, len(wire)})
    steps = [wire[start:stop] for start, stop in itertools.pairwise(cuts)]
    if codec.quiet_s is not None:
        for at in sorted(data.draw(st.sets(st.integers(0, len(steps)), max_size=3)), reverse=True):
            steps.insert(at, None)
    moves = data.draw(st.sets(st.integers(0, len(steps) - 1), min_size=1))

    assert messages_of(codec, steps, moves=()) == messages_of(codec, steps, moves=moves)


class Noting(Codec):
    """A codec of a user's."""

    quiet_s = 1.0

    def decode(self, buffer):
        buffer.resume = self
        return NEED_DATA

    def encode(self, message):
        return message


def test_the_note_of_a_codec_of_ones_own_is_not_guessed_at():
    """Where it may say what the bytes do not, the connection stays: the bytes before a silence, say."""
    inbound = StreamInbound(Noting())
    inbound.feed(b"part")
    inbound.take(1)

    with pytest.raises(TypeError):
        plain_of(inbound.remembered())


def test_a_note_of_a_newer_version_is_refused():
    """It may be of bytes that are gone."""
    assert Remembered(None, True, ()) == remembered_of({"silence_counts": True, "silences": []})
    with pytest.raises(TypeError):
        remembered_of({"silence_counts": True, "note": ["newer", 1]})


def test_codecs_are_told_apart_by_class_and_options():
    """Bytes that one has not taken are another's only if it cuts them in the same way."""
    assert text_of(Lines()) == text_of(Lines(max_frame_bytes=65536))
    assert text_of(Lines()) != text_of(Lines(max_frame_bytes=1))
    assert text_of(Lines()) != text_of(JsonLines())
    assert type(named(text_of(Netstring()), "netstring")) is Netstring
    assert named(text_of(Lines(max_frame_bytes=1)), "lines") is None
    assert named(text_of(Lines()), "unknown") is None


# Of each option of a codec another value than the one it has by default, or in STREAMS.
OTHER = {
    "adjustment": 1,
    "array_keys": True,
    "byteorder": "little",
    "default": repr,
    "delimiter": b"|",
    "encoding": "ascii",
    "ext_hook": print,
    "header": "split",
    "inline": True,
    "keep_cr": True,
    "keep_delimiter": True,
    "newline": "crlf",
    "offset": 1,
    "on_oversize": "skip",
    "protocol": 3,
    "quiet_s": 2.5,
    "single_floats": True,
    "size": 2,
    "strict": True,
    "strip": 2,
    "timestamp": "ext",
    "type": int,
    "unterminated": "deliver",
}
OPTIONS = {(type(codec), option) for codec, _ in STREAMS for option in inspect.signature(type(codec)).parameters}


@pytest.mark.parametrize(("kind", "option"), sorted(OPTIONS, key=str), ids=lambda each: getattr(each, "__name__", each))
def test_each_option_of_a_codec_is_told_where_it_is_one_of_two(kind, option):
    """What comes in is cut by the one, which the other end has to have as well."""
    needed = {Delimited: {"delimiter": b"--"}, Fixed: {"size": 4}}.get(kind, {})
    one, other = kind(**needed), kind(**needed | {option: OTHER.get(option, 77)})

    assert text_of(one) != text_of(other)
    assert text_of(Duplex(one, Netstring())) != text_of(Duplex(other, Netstring()))
    assert text_of(Duplex(Netstring(), one)) != text_of(Duplex(Netstring(), other))
    assert text_of(Duplex(one, other)) == text_of(Duplex(kind(**needed), other))


def test_two_codecs_are_named_only_with_the_options_that_the_name_gives_them():
    """Else the other end would cut the bytes as the name has it."""
    assert named(text_of(Duplex(Lines(max_frame_bytes=2**20), Netstring())), "lines/netstring") is None
    assert type(named(text_of(Duplex(Lines(), Netstring())), "lines/netstring")) is Duplex
