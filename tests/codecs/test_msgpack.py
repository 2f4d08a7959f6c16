"""MessagePack: objects one after the other, without a frame around them."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from penstock.codecs import NEED_DATA, Buffer, parse_codec
from penstock.errors import (
    BadEncodingError,
    BadFrameError,
    BadPayloadError,
    ConfigurationError,
    FrameTooLongError,
    LocalProtocolError,
    RemoteProtocolError,
    TruncatedError,
)
from penstock.testing import check_codec, decode_chunks, decode_in_chunks

UTC = dt.UTC


@dataclass
class Picky:
    """A type with code of its own, and a fault in it."""

    x: int

    def __post_init__(self):
        if 1 / self.x == 1:
            raise ValueError("odd")


# The example on https://msgpack.org, and each format of the specification at its smallest and largest.
VECTORS = [
    (bytes.fromhex("82a7636f6d70616374c3a6736368656d6100"), {"compact": True, "schema": 0}),
    (b"\x00", 0),
    (b"\x7f", 127),
    (b"\x80", {}),
    (b"\x8f" + b"".join(bytes((n, n)) for n in range(15)), {n: n for n in range(15)}),
    (b"\x90", []),
    (b"\x9f" + b"\xc0" * 15, [None] * 15),
    (b"\xa0", ""),
    (b"\xbf" + b"a" * 31, "a" * 31),
    (b"\xc0", None),
    (b"\xc2", False),
    (b"\xc3", True),
    (b"\xc4\x02\x00\xff", b"\x00\xff"),
    (b"\xc5\x01\x00" + bytes(256), bytes(256)),
    (b"\xc6\x00\x01\x00\x00" + bytes(65536), bytes(65536)),
    (b"\xca\x3f\x00\x00\x00", 0.5),
    (b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00", 0.5),
    (b"\xcc\xff", 255),
    (b"\xcd\xff\xff", 65535),
    (b"\xce\xff\xff\xff\xff", 2**32 - 1),
    (b"\xcf" + b"\xff" * 8, 2**64 - 1),
    (b"\xd0\x80", -128),
    (b"\xd1\x80\x00", -32768),
    (b"\xd2\x80\x00\x00\x00", -(2**31)),
    (b"\xd3\x80" + bytes(7), -(2**63)),
    (b"\xd6\xff\x00\x00\x00\x01", dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
    (b"\xd9\x20" + b"a" * 32, "a" * 32),
    (b"\xda\x01\x00" + b"a" * 256, "a" * 256),
    (b"\xdb\x00\x01\x00\x00" + b"a" * 65536, "a" * 65536),
    (b"\xdc\x00\x10" + b"\x01" * 16, [1] * 16),
    (b"\xdd\x00\x00\x00\x01\x90", [[]]),
    (b"\xde\x00\x01\xa1a\x81\xa1b\xc0", {"a": {"b": None}}),
    (b"\xdf\x00\x00\x00\x01\x02\xc3", {2: True}),
    (b"\xe0", -32),
    (b"\xff", -1),
]
EXTENSIONS = [
    (b"\xd4\x05a", 1),
    (b"\xd5\x05ab", 2),
    (b"\xd6\x05abcd", 4),
    (b"\xd7\x05abcdefgh", 8),
    (b"\xd8\x05" + b"x" * 16, 16),
    (b"\xc7\x03\x05abc", 3),
    (b"\xc7\x00\x05", 0),
    (b"\xc8\x01\x00\x05" + b"x" * 256, 256),
    (b"\xc9\x00\x01\x00\x00\x05" + b"x" * 65536, 65536),
]


class Point(msgspec.Struct):
    """A type to decode into."""

    x: int


class TestDecoding:
    """From a stream to objects."""

    @pytest.mark.parametrize(("wire", "message"), VECTORS)
    def test_an_object_ends_where_its_headers_say(self, codecs, wire, message):
        """Every format of the specification, followed by the start of another object."""
        buffer = Buffer(wire + b"\x93\x01")

        assert message == codecs.Msgpack().decode(buffer)
        assert (b"\x93\x01", None) == (bytes(buffer), buffer.resume)
        assert ([message] * 2, 2 * len(wire)) == codecs.Msgpack().decode_many(wire * 2 + b"\x93\x01", 9)

    @pytest.mark.parametrize(("wire", "size"), EXTENSIONS)
    def test_an_extension_is_handed_over_as_it_is(self, codecs, wire, size):
        """Its type is one byte more than its length says."""
        message = codecs.Msgpack().decode(Buffer(wire))

        assert (5, size) == (message.code, len(message.data))

    @pytest.mark.parametrize("wire", [wire for wire, _ in VECTORS + EXTENSIONS if len(wire) < 300])
    def test_every_shorter_piece_waits(self, codecs, wire):
        """Nothing is given away before the last byte is there, however it came."""
        pieces = [bytes((byte,)) for byte in wire]

        assert 1 == len(decode_chunks(codecs.Msgpack(), pieces).messages)
        for size in range(len(wire)):
            assert NEED_DATA is codecs.Msgpack().decode(Buffer(wire[:size]))

    @pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\xdf\x00\x00\x00\x01\x01"])
    def test_a_bomb_is_refused(self, codecs, opening):
        """100,000 levels are a bad payload like any other, not a crash or a RecursionError."""
        codec = codecs.Msgpack(max_frame_bytes=2**21)

        assert "bad_payload" == decode_chunks(codec, [opening * 100_000]).reason

    @pytest.mark.parametrize("opening", [b"\x91", b"\x81\x01"])
    def test_exactly_max_depth_is_allowed(self, codecs, opening):
        """An empty container has a depth like any other."""
        codec = codecs.Msgpack(max_depth=3)

        assert NEED_DATA is not codec.decode(Buffer(opening * 2 + b"\x90"))
        assert NEED_DATA is not codec.decode(Buffer(opening * 3 + b"\xc0"))
        with pytest.raises(BadPayloadError, match="nested deeper than max_depth=3"):
            codec.decode(Buffer(opening * 3 + b"\x90"))

    @pytest.mark.parametrize(
        ("wire", "size"),
        [
            (b"\xdb\xff\xff\xff\xff", 5 + 2**32 - 1),
            (b"\xc6\x7f\xff\xff\xff", 5 + 2**31 - 1),
            (b"\xc9\x80\x00\x00\x00", 6 + 2**31),
            (b"\xdd\xff\xff\xff\xff", 5 + 2**32 - 1),
            (b"\xdf\xff\xff\xff\xff", 5 + 2**33 - 2),
            (b"\xc4\x63", 101),
            (b"\x92\xc4\x61", 101),
            (b"\xdc\x00\x62", 101),
            (b"\xde\x00\x31", 101),
        ],
    )
    def test_what_has_to_be_too_long_is_refused_on_its_header(self, codecs, wire, size):
        """Each element to come has a byte at least, so that a count is as good as a length."""
        with pytest.raises(FrameTooLongError) as caught:
            codecs.Msgpack(max_frame_bytes=100).decode(Buffer(wire))

        assert (size, 100) == (caught.value.size, caught.value.limit)

    @pytest.mark.parametrize(
        "wire", [b"\xc4\x62" + bytes(98), b"\xdc\x00\x61" + bytes(97), b"\xdc\x00\x60" + b"\x90" * 95 + b"\xcc\xff"]
    )
    def test_what_is_exactly_as_long_as_allowed_is_taken(self, codecs, wire):
        """The limit is of the whole object."""

        assert 1 == len(decode_chunks(codecs.Msgpack(max_frame_bytes=100), [wire]).messages)

    @pytest.mark.parametrize("wire", [b"\xc1", b"\x92\x01\xc1"])
    def test_the_byte_that_is_never_used_is_refused(self, codecs, wire):
        """C1 begins nothing."""
        with pytest.raises(BadFrameError, match="C1"):
            codecs.Msgpack().decode(Buffer(wire))

    @pytest.mark.parametrize(
        ("wire", "offset"),
        [
            (b"\xa1\xff", 1),
            (b"\x93\xa1a\xd9\x02b\xff\xc0", 6),
            (b"\x94\xc7\x01\x05\xff\xca\xff\xff\xff\xff\xdc\x00\x00\xda\x00\x01\x80", 16),
            (b"\x81\xa1\xff\xc0", 2),
            (b"\x92\xdb\x00\x00\x00\x01\xff\xc0", 6),
        ],
    )
    def test_a_string_that_is_no_utf8_is_refused_where_it_stands(self, codecs, wire, offset):
        """The offset is that of the first bad byte in the object; other bytes are data."""
        with pytest.raises(BadEncodingError) as caught:
            codecs.Msgpack().decode(Buffer(wire))

        assert offset == caught.value.offset

    @pytest.mark.parametrize("wanted", [Any, str, int])
    def test_whatever_class_the_library_raises_the_bytes_decide(self, codecs, refuse, wanted):
        """A string that is no UTF-8 is told from other faults without the library's help, in every way of reading."""
        codec = refuse(codecs.Msgpack(type=wanted), "_decode", "_decode_any")
        with pytest.raises(BadEncodingError) as singly:
            codec.decode(Buffer(b"\xa2a\xff"))
        with pytest.raises(BadEncodingError) as many:
            codec.decode_many(b"\xa2a\xff", 9)

        assert [2, 2] == [singly.value.offset, many.value.offset]

    @pytest.mark.parametrize("wanted", [Any, str])
    def test_whatever_class_the_library_raises_a_bad_object_is_a_bad_payload(self, codecs, refuse, wanted):
        """With the library's own words."""
        codec = refuse(codecs.Msgpack(type=wanted), "_decode", "_decode_any")
        with pytest.raises(BadPayloadError, match="in other words"):
            codec.decode(Buffer(b"\x81\x80\x01"))

    def test_a_fault_in_the_code_of_a_type_is_not_the_peers(self, codecs):
        """The object is well formed: the error reaches whoever wrote the type. A ValueError is how a type says no."""
        with pytest.raises(ZeroDivisionError):
            codecs.Msgpack(type=Picky).decode(Buffer(b"\x81\xa1x\x00"))
        with pytest.raises(BadPayloadError, match="odd"):
            codecs.Msgpack(type=Picky).decode(Buffer(b"\x81\xa1x\x01"))

    @pytest.mark.parametrize("codec", ["Msgpack", "JsonLines"])
    def test_no_memory_is_nobodys_fault(self, codecs, monkeypatch, codec):
        """Neither the peer's nor the message's."""

        def fail(_message):
            raise MemoryError

        codec = getattr(codecs, codec)()
        monkeypatch.setattr(getattr(codec, "own", codec), "_decode", fail)
        monkeypatch.setattr(getattr(codec, "own", codec), "_encode", fail)
        with pytest.raises(MemoryError):
            codec.decode(Buffer(b"1\n"))
        with pytest.raises(MemoryError):
            codec.encode(1)

    def test_bytes_need_not_be_utf8(self, codecs):
        """Only strings do."""

        assert [b"\xff", "é"] == codecs.Msgpack().decode(Buffer(b"\x92\xc4\x01\xff\xa2\xc3\xa9"))

    @pytest.mark.parametrize(
        ("nanoseconds", "seconds", "instant"),
        [
            (999_999_999, 7, dt.datetime(1970, 1, 1, 0, 0, 7, 999_999, UTC)),
            (1_500, 7, dt.datetime(1970, 1, 1, 0, 0, 7, 1, UTC)),
            (999, 7, dt.datetime(1970, 1, 1, 0, 0, 7, 0, UTC)),
            (999_999_999, 253402300799, dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)),
            (999_999_999, -1, dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)),
        ],
    )
    def test_a_timestamp_is_cut_to_microseconds_not_rounded_up(self, codecs, nanoseconds, seconds, instant):
        """In either form that has nanoseconds, by itself and inside others, however the bytes arrive."""
        forms = [b"\xc7\x0c\xff" + nanoseconds.to_bytes(4, "big") + seconds.to_bytes(8, "big", signed=True)]
        if 0 <= seconds < 2**34:
            forms.append(b"\xd7\xff" + (nanoseconds << 34 | seconds).to_bytes(8, "big"))
        for form in forms:
            wire = b"\x93\xa2\xc7\xbf" + form + b"\xc4\x02\xd7\xff"  # what looks like one in text or bytes is none

            assert [["\u01ff", instant, b"\xd7\xff"]] == decode_in_chunks(codecs.Msgpack(), wire, [1] * 99)
            assert [instant, instant] == decode_in_chunks(codecs.Msgpack(), form * 2, [])
            assert [instant] == decode_in_chunks(codecs.Msgpack(type=dt.datetime), form, [])

    def test_a_datetime_without_time_zone_is_text(self, codecs):
        """It names no instant."""
        wire = codecs.Msgpack().encode(dt.datetime(2020, 1, 2, 3, 4, 5))

        assert "2020-01-02T03:04:05" == codecs.Msgpack().decode(Buffer(wire))

    @pytest.mark.parametrize("wire", [b"\x81\x80\x01", b"\xd7\xff" + b"\xff" * 8, b"\xd4\xff\x00"])
    def test_what_python_cannot_hold_is_refused(self, codecs, wire):
        """A map as a key, a timestamp out of range or of no known form."""
        with pytest.raises(BadPayloadError):
            codecs.Msgpack().decode(Buffer(wire))

    def test_a_bad_object_after_good_ones_is_left_for_the_next_call(self, codecs):
        """The good ones are not lost with it."""

        assert ([1, "a"], 3) == codecs.Msgpack().decode_many(b"\x01\xa1a\xc1\x02", 9)
        assert ([1], 1) == codecs.Msgpack().decode_many(b"\x01\xa1\xff\x02", 9)


class TestEncoding:
    """From objects to the stream."""

    @pytest.mark.parametrize("message", [message for _, message in VECTORS])
    def test_objects_come_back(self, codecs, message):
        """In the shortest form."""

        assert [message] == decode_in_chunks(codecs.Msgpack(), codecs.Msgpack().encode(message), [])

    def test_what_the_format_has_no_form_for_is_written_as_msgspec_writes_it(self, codecs):
        """A tuple as an array, a datetime with time zone as a timestamp."""
        wire = codecs.Msgpack().encode((1, dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)))

        assert b"\x92\x01\xd6\xff\x00\x00\x00\x01" == wire

    @pytest.mark.parametrize("message", [2**64, -(2**63) - 1, "\ud800", [[[[1]]]], {"a": [{"b": {}}]}])
    def test_what_the_other_end_would_refuse_is_not_sent(self, codecs, message):
        """Too large for the format, no UTF-8, too deep."""
        with pytest.raises(LocalProtocolError):
            codecs.Msgpack(max_depth=3).encode(message)

    @pytest.mark.parametrize("message", [{(1, 2): True}, {1: 2, (): 3}, [{"a": {b"b": [], (0,): 0}}]])
    def test_an_array_is_a_key_where_that_is_asked_for(self, codecs, message):
        """Without it both ends refuse it, however the bytes arrive; arrays and maps as values are as ever."""
        wire = codecs.Msgpack(array_keys=True).encode(message)
        with pytest.raises(LocalProtocolError, match="array_keys"):
            codecs.Msgpack().encode(message)
        for pieces in ([wire], [bytes((octet,)) for octet in wire]):
            assert BadPayloadError is type(decode_chunks(codecs.Msgpack(), pieces, eof=False).error)
            assert [message] == decode_chunks(codecs.Msgpack(array_keys=True), pieces, eof=False).messages

    def test_what_only_looks_like_an_array_for_a_key_is_sent(self, codecs):
        """A value, or bytes of a string."""
        message = {b"\x90": [{1: []}, []], 2: {b"\xdc": [1], 3: [[]]}}

        assert [message] == decode_in_chunks(codecs.Msgpack(), codecs.Msgpack().encode(message), [1])

    def test_what_only_looks_deep_is_sent(self, codecs):
        """Bytes of a string are no containers."""

        assert b"\x91\xc4\x05" + b"\x91" * 5 == codecs.Msgpack(max_depth=3).encode([b"\x91" * 5])

    def test_the_limit_holds_both_ways(self, codecs):
        """In bytes of the whole object."""
        codec = codecs.Msgpack(max_frame_bytes=6)
        with pytest.raises(LocalProtocolError, match="object of 7 bytes exceeds max_frame_bytes=6"):
            codec.encode("hello!")

        assert b"\xa5hello" == codec.encode("hello")

    def test_a_message_that_holds_itself_is_not_sent(self, codecs):
        """It has no end."""
        message = []
        message.append(message)
        with pytest.raises(LocalProtocolError):
            codecs.Msgpack().encode(message)

    def test_whatever_class_the_library_raises_a_message_without_a_form_is_told(self, codecs, refuse):
        """With the library's own words."""
        with pytest.raises(LocalProtocolError, match="in other words"):
            refuse(codecs.Msgpack(), "_encode").encode(2**64)

    def test_an_unknown_type_is_refused(self, codecs):
        """As msgspec says it."""
        with pytest.raises(TypeError):
            codecs.Msgpack().encode(object())


class TestOptions:
    """Those that other libraries have."""

    NANOSECONDS = b"\xd7\xff" + (999_999_999 << 34 | 7).to_bytes(8, "big")
    BEFORE_1970 = b"\xc7\x0c\xff" + (1).to_bytes(4, "big") + (-1).to_bytes(8, "big", signed=True)
    SECOND = b"\xd6\xff\x00\x00\x00\x01"

    @pytest.mark.parametrize(
        ("timestamp", "wire", "value"),
        [
            ("datetime", NANOSECONDS, dt.datetime(1970, 1, 1, 0, 0, 7, 999_999, UTC)),
            ("ns", NANOSECONDS, 7_999_999_999),
            ("ns", SECOND, 1_000_000_000),
            ("ns", BEFORE_1970, -999_999_999),
            ("float", NANOSECONDS, 7.999999999),
            ("float", SECOND, 1.0),
        ],
    )
    def test_a_timestamp_is_what_was_asked_for(self, codecs, timestamp, wire, value):
        """Beside other extensions, as a key, and however the bytes arrive."""
        codec = codecs.Msgpack(timestamp=timestamp, ext_hook=lambda code, data: (code, data))
        whole = b"\x93\xd4\x00a" + wire + b"\x81" + wire + b"\xc7\x01\x05b"

        assert [[(0, b"a"), value, {value: (5, b"b")}]] * 2 == decode_in_chunks(codec, whole * 2, [1] * 99)

    def test_a_timestamp_may_stay_the_extension_that_it_is(self, codecs):
        """Byte for byte, so that it can be sent on."""
        codec = codecs.Msgpack(timestamp="ext")
        stamp, other = codec.decode(Buffer(b"\x92" + self.NANOSECONDS + b"\xd4\x05a"))

        assert (-1, self.NANOSECONDS[2:], 5, b"a") == (stamp.code, stamp.data, other.code, other.data)
        assert self.NANOSECONDS == codec.encode(stamp)

    @pytest.mark.parametrize("timestamp", ["datetime", "ns", "float"])
    @pytest.mark.parametrize("wire", [b"\xd7\xff" + b"\xff" * 8, b"\xd4\xff\x00", b"\xc7\x00\xff"])
    def test_a_malformed_timestamp_is_a_bad_payload(self, codecs, timestamp, wire):
        """A billion nanoseconds and more, or of no known length."""
        with pytest.raises(BadPayloadError):
            codecs.Msgpack(timestamp=timestamp).decode(Buffer(wire))

    def test_a_type_says_itself_what_timestamps_are(self, codecs):
        """So one cannot be had with the other."""
        with pytest.raises(ConfigurationError, match="timestamp=ns is for messages without a type"):
            codecs.Msgpack(timestamp="ns", type=list[int])

    def test_extensions_are_read_and_written_by_the_users_code(self, codecs):
        """In messages of any type, and of one that leaves their places open."""

        def read(code, data):
            return complex(data.decode()) if code == 1 else data

        def write(value):
            return msgspec.msgpack.Ext(1, str(value).encode())

        codec = codecs.Msgpack(ext_hook=read, default=write)
        typed = codecs.Msgpack(ext_hook=read, default=write, type=list[Any])
        wire = codec.encode([1 + 2j])

        assert b"\x91\xc7\x06\x01(1+2j)" == wire == typed.encode([1 + 2j])
        assert [1 + 2j] == codec.decode(Buffer(wire)) == typed.decode(Buffer(wire))

    def test_a_hook_refuses_by_a_value_error_and_fails_by_any_other(self, codecs):
        """The first is the peer's doing."""

        def read(code, _data):
            return {0: "none"}[code] if code < 2 else int("no number")

        codec = codecs.Msgpack(ext_hook=read)
        with pytest.raises(BadPayloadError, match="invalid literal"):
            codec.decode(Buffer(b"\xd4\x02a"))
        with pytest.raises(KeyError):
            codec.decode(Buffer(b"\xd4\x01a"))

    def test_what_the_users_code_cannot_write_either_is_a_type_error(self, codecs):
        """Its own."""

        def write(value):
            raise TypeError(f"no {type(value).__name__}")

        with pytest.raises(TypeError, match="no complex"):
            codecs.Msgpack(default=write).encode(1j)

    def test_floats_are_written_in_32_bits(self, codecs):
        """All of them, and nothing that only looks like one; what is too large is refused."""
        codec = codecs.Msgpack(single_floats=True)
        wire = codec.encode([1.5, {"a": -0.0}, b"\xcb" + bytes(8), 2])

        assert b"\x94\xca\x3f\xc0\x00\x00\x81\xa1a\xca\x80\x00\x00\x00\xc4\x09\xcb" + bytes(8) + b"\x02" == wire
        assert [1.5, {"a": 0.0}, b"\xcb" + bytes(8), 2] == codec.decode(Buffer(wire))
        with pytest.raises(LocalProtocolError, match="too large"):
            codec.encode(1e300)

    @pytest.mark.parametrize(
        ("option", "allowed", "header", "refused"),
        [
            ("max_str_bytes", "abc", b"\xa4", "str of 4 bytes exceeds max_str_bytes=3"),
            ("max_str_bytes", "abc", b"\xdb\x00\x00\x00\x04", "str of 4 bytes"),
            ("max_bin_bytes", b"abc", b"\xc5\x00\x04", "bin of 4 bytes exceeds max_bin_bytes=3"),
            ("max_ext_bytes", msgspec.msgpack.Ext(5, b"abc"), b"\xd6\x05", "ext of 4 bytes exceeds max_ext_bytes=3"),
            ("max_ext_bytes", msgspec.msgpack.Ext(5, b""), b"\xc8\x00\x04\x05", "ext of 4 bytes"),
            ("max_array_items", [1, 2, 3], b"\x94", "array of 4 items exceeds max_array_items=3"),
            ("max_array_items", [], b"\xdc\x00\x04", "array of 4 items"),
            ("max_map_items", {1: 2, 3: 4, 5: 6}, b"\x84", "map of 4 items exceeds max_map_items=3"),
            ("max_map_items", {}, b"\xdf\x00\x00\x00\x04", "map of 4 items"),
        ],
    )
    def test_each_kind_of_element_has_a_limit_of_its_own(self, codecs, option, allowed, header, refused):
        """Refused on its header, as far in as it may be; what is exactly as long is taken, both ways."""
        codec = codecs.Msgpack(**{option: 3})
        wire = codec.encode([allowed])
        message = codec.decode(Buffer(wire))[0]

        assert codecs.Msgpack().encode([message]) == wire
        with pytest.raises(BadPayloadError, match=refused):
            codec.decode(Buffer(b"\x92\x01" + header))

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ("max_str_bytes", ["abcd"]),
            ("max_bin_bytes", b"abcd"),
            ("max_ext_bytes", msgspec.msgpack.Ext(5, b"abcd")),
            ("max_array_items", [[1, 2, 3, 4]]),
            ("max_map_items", {1: 1, 2: 2, 3: 3, 4: 4}),
        ],
    )
    def test_what_the_other_end_would_refuse_is_not_sent(self, codecs, option, message):
        """By the same limits."""
        with pytest.raises(LocalProtocolError, match=f"would be refused: .*{option}=3"):
            codecs.Msgpack(**{option: 3}).encode(message)

    def test_they_can_be_written_in_a_codec_spec(self):
        """All that need no code."""
        codec = parse_codec(
            "msgpack:timestamp=ns,single-floats=yes,max-str-bytes=1KiB,max-array-items=5,max-map-items=none"
        )

        assert b"\xca\x3f\xc0\x00\x00" == codec.encode(1.5)
        assert 7_999_999_999 == codec.decode(Buffer(self.NANOSECONDS))
        with pytest.raises(BadPayloadError):
            codec.decode(Buffer(b"\x96"))


def test_a_message_can_be_of_a_type(codecs):
    """What is not of it is refused."""
    codec = codecs.Msgpack(type=Point)
    check_codec(codec, [Point(1), Point(-5)], [b"\x81\xa1x\xa1y", b"\x80"])
    with pytest.raises(BadPayloadError, match=r"Expected `int`, got `str` - at `\$.x`"):
        codec.decode(Buffer(b"\x81\xa1x\xa1y"))


def test_eof_within_an_object_is_truncation(codecs):
    """Objects that are whole were delivered."""
    decoded = decode_chunks(codecs.Msgpack(), [b"\x01\x92\x01"])

    assert ([1], TruncatedError) == (decoded.messages, type(decoded.error))


def test_a_datagram_is_one_object(codecs):
    """Neither less nor more."""
    with pytest.raises(TruncatedError):
        codecs.Msgpack().decode_datagram(b"\x92\x01")
    with pytest.raises(RemoteProtocolError, match="1 bytes follow"):
        codecs.Msgpack().decode_datagram(b"\x01\x02")

    assert [1, 2] == codecs.Msgpack().decode_datagram(b"\x92\x01\x02")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_depth": 0}, "max_depth must be 1 to 512, not 0"),
        ({"max_depth": 513}, "max_depth must be 1 to 512, not 513"),
        ({"max_frame_bytes": 0}, "max_frame_bytes must be 1 or more, not 0"),
        ({"max_str_bytes": -1}, "max_str_bytes must be 0 or more, not -1"),
        ({"timestamp": "date"}, "timestamp must be datetime, ext, float, ns, not 'date'"),
    ],
)
def test_a_wrong_option_is_refused_when_the_codec_is_made(codecs, options, problem):
    """With what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        codecs.Msgpack(**options)

    assert problem == caught.value.problem


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_frame_bytes": 40, "max_depth": 2},
        {"timestamp": "ns", "single_floats": True, "max_str_bytes": 35, "max_array_items": 2, "max_map_items": 1},
    ],
)
def test_the_laws_hold(codecs, options):
    """Cutting, batches, identity, refusals."""
    messages = [None, True, 0, -1.5, "é\n", b"\xc1", [], {"a": [1, "b"]}, ["x" * 35]]
    wires = [b"\x91\x91\x91\x01", b"\xc1", b"\xa1\xff", b"\x01\xd9\xff", b"\x81\x80\x01", b"\xdd\xff\xff\xff\xff"]
    check_codec(codecs.Msgpack(**options), messages, wires)
