"""T-08: our decoders against others that share no line with them, on inputs that are right, nearly right and random."""

import datetime as dt
import io
import json
import os
import random
import re
import struct

import msgpack
import msgspec
import pytest

from penstock.codecs.resp import ErrorReply, SimpleString
from penstock.errors import LocalProtocolError
from penstock.reasons import CloseReason
from penstock.testing import decode_chunks

# For each decoder; make attacks: 20,000. A million takes some minutes.
INPUTS = int(os.environ.get("DIFFERENTIAL_INPUTS", "4000"))
LIMIT = 2**20

MORE, REFUSED, UNKNOWN = "more", "refused", "unknown"


def mutate(chance, wire):
    """The wire itself, or with a byte changed, dropped, doubled or added somewhere, once or twice."""
    for _ in range(chance.choice([0, 1, 1, 2])):
        at = chance.randrange(len(wire) + 1)
        byte = bytes((chance.randrange(256),)) if chance.randrange(2) else wire[-1:] or b"0"
        change = chance.randrange(4)
        wire = wire[:at] + (b"", byte, wire[at : at + 1] * 2, byte)[change] + wire[at + (change != 3) :]
    return wire


def ours(codec, wire):
    """The messages, and whether more is waited for or the rest is refused."""
    decoded = decode_chunks(codec, [wire], eof=False)
    # The other two wait for a frame that cannot be within the limit, instead of refusing it on its header.
    too_large = decoded.reason == CloseReason.FRAME_TOO_LARGE
    waits = decoded.error is None or (too_large and codec.name in ("msgpack", "resp"))
    return decoded.messages, MORE if waits else REFUSED


# -- the other decoders: bytes -> messages, and what about the rest ---------------------------------------------------


def read_lines(wire):
    """By a file object's readline."""
    file = io.BytesIO(wire)
    lines = list(file)
    whole = [line[:-1].rstrip(b"\r") for line in lines if line.endswith(b"\n")]
    return whole, MORE


def read_length_prefixed(wire):
    """By the struct module."""
    messages, file = [], io.BytesIO(wire)
    while len(head := file.read(2)) == 2:
        (size,) = struct.unpack(">H", head)
        if size > 300:
            return messages, REFUSED
        if len(body := file.read(size)) < size:
            break
        messages.append(body)
    return messages, MORE


def read_varint(wire):
    """By its definition: groups of seven bits until one without the top bit."""
    messages, rest = [], wire
    while rest:
        length = next((n + 1 for n, byte in enumerate(rest[:10]) if byte < 128), None)
        if length is None:
            return messages, REFUSED if len(rest) >= 10 else MORE
        size = sum((byte % 128) * 128**n for n, byte in enumerate(rest[:length]))
        if size >= 2**64 or (length > 1 and size < 128 ** (length - 1)) or size > 300:
            return messages, REFUSED
        if len(rest) < length + size:
            break
        messages.append(rest[length : length + size])
        rest = rest[length + size :]
    return messages, MORE


def read_netstrings(wire):
    """By a regular expression for the length."""
    messages, rest = [], wire
    while match := re.match(rb"(0|[1-9][0-9]{0,2}):", rest):
        size, start = int(match[1]), match.end()
        if size > 300 or (len(rest) > start + size and rest[start + size] != ord(",")):
            return messages, REFUSED
        if len(rest) <= start + size:
            return messages, MORE
        messages.append(rest[start : start + size])
        rest = rest[start + size + 1 :]
    return messages, MORE if re.fullmatch(rb"|0|[1-9][0-9]{0,2}", rest) else REFUSED


def read_json_lines(wire):
    """By the json module, which has to be told about infinities and surrogates."""
    messages = []
    for line in wire.split(b"\n")[:-1]:
        try:
            message = json.loads(line.decode(), parse_constant=lambda _: 1 / 0)
            json.dumps(message, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, ZeroDivisionError):
            return messages, REFUSED
        messages.append(message)
    return messages, MORE


def read_msgpack(wire):
    """By the msgpack package."""
    unpacker = msgpack.Unpacker(
        strict_map_key=False,
        use_list=False,  # arrays may be keys
        timestamp=3,
        ext_hook=msgspec.msgpack.Ext,  # its own type refuses the codes below -1
        max_buffer_size=LIMIT,
        max_map_len=LIMIT // 2,
    )
    unpacker.feed(wire)
    messages = []
    while True:
        try:
            messages.append(unpacker.unpack())
        except msgpack.OutOfData:
            return messages, MORE
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
            return messages, REFUSED


def read_resp2(wire):
    """By reading line after line of a file, one value at a time; the types of RESP3 it does not know."""

    class IncompleteError(Exception):
        pass

    def line(file, pattern, longest=20):
        got = file.readline()
        if not got.endswith(b"\n") and len(got) <= longest + 1:
            raise IncompleteError
        match = re.fullmatch(pattern + rb"\r\n", got)
        if match is None:
            raise ValueError(got)
        return match[1]

    def value(file):
        first = file.read(1)
        if first in (b"+", b"-"):
            return (SimpleString if first == b"+" else ErrorReply)(line(file, rb"([^\r\n]*)", longest=LIMIT))
        if first == b":":
            number = int(line(file, rb"([+-]?(?:0|[1-9][0-9]{0,18}))"))
            return number if -(2**63) <= number < 2**63 else int("x")
        if first and first in b"_#,(!=%~>|":
            raise LookupError(first)
        if first not in (b"$", b"*"):
            raise ValueError(first) if first else IncompleteError
        size = int(line(file, rb"(-1|0|[1-9][0-9]{0,18})"))
        if size == -1:
            return None
        if first == b"*":
            return [value(file) for _ in range(size)]
        if len(body := file.read(size + 2)) < size + 2:
            raise IncompleteError
        return body[:-2] if body.endswith(b"\r\n") else int("x")

    messages, file = [], io.BytesIO(wire)
    while file.tell() < len(wire):
        try:
            messages.append(value(file))
        except IncompleteError:
            return messages, MORE
        except LookupError:
            return messages, UNKNOWN
        except ValueError:
            return messages, REFUSED
    return messages, MORE


# -- inputs -----------------------------------------------------------------------------------------------------------


def text(chance):
    return 'é\\"\n\r,:\0x'[chance.randrange(10) : chance.randrange(11)] * chance.choice([1, 1, 1, 4, 40])


def octets(chance):
    return text(chance).encode()


def line(chance):
    return octets(chance).replace(b"\n", b"").rstrip(b"\r")


def json_value(chance, depth=0):
    match chance.randrange(9 if depth < 3 else 5):
        case 0:
            return chance.choice([None, True, False])
        case 1:
            return chance.randint(-(2 ** chance.randint(0, 90)), 2 ** chance.randint(0, 90))
        case 2 | 3:
            return chance.choice([0.5, -1.5e300, 3.14, 1e22, 5e-324])
        case 4:
            return text(chance)
        case 5 | 6:
            return [json_value(chance, depth + 1) for _ in range(chance.choice([0, 1, 2, 3]))]
    return {text(chance): json_value(chance, depth + 1) for _ in range(chance.randrange(4))}


def msgpack_value(chance, depth=0):
    match chance.randrange(10 if depth < 3 else 6):
        case 0:
            return chance.choice([None, True, False, 0.5, -1.5e300])
        case 1:
            return chance.randint(-(2 ** chance.randint(0, 63)), 2 ** chance.randint(0, 64) - 1)
        case 2 | 3:
            return text(chance)
        case 4:
            return bytes(chance.choice([0, 1, 31, 32, 255, 256]))
        case 5:
            return msgspec.msgpack.Ext(chance.randrange(128), bytes(chance.choice([1, 2, 3, 4, 8, 16, 17])))
        case 6 | 7:
            return [msgpack_value(chance, depth + 1) for _ in range(chance.choice([0, 1, 2, 3, 16]))]
    return {
        chance.choice(["k", 1, b"b", None, (1,)]): msgpack_value(chance, depth + 1) for _ in range(chance.randrange(4))
    }


def resp_value(chance, depth=0):
    match chance.randrange(7 if depth < 3 else 5):
        case 0:
            return chance.choice([None, SimpleString(b"OK"), ErrorReply(b"ERR x"), SimpleString(b"")])
        case 1:
            return chance.randint(-(2 ** chance.randint(0, 63)), 2 ** chance.randint(0, 63) - 1)
        case 2 | 3 | 4:
            return octets(chance)
    return [resp_value(chance, depth + 1) for _ in range(chance.randrange(4))]


def same_form(value):
    """One form for what the two have different types for, with the type of everything else."""
    match value:
        case msgspec.msgpack.Ext():
            return ("ext", value.code, bytes(value.data))
        case dt.datetime():
            # Of what is under a microsecond one cuts and the other rounds.
            return value.replace(microsecond=0).isoformat()
        case list() | tuple():
            return [same_form(item) for item in value]
        case dict():
            return {repr(same_form(key)): same_form(item) for key, item in value.items()}
    return (type(value).__name__, repr(value))


DECODERS = [
    ("Lines", {"max_frame_bytes": LIMIT}, read_lines, line),
    ("LengthPrefixed", {"size": 2, "max_frame_bytes": 300}, read_length_prefixed, octets),
    ("Varint", {"max_frame_bytes": 300}, read_varint, octets),
    ("Netstring", {"max_frame_bytes": 300}, read_netstrings, octets),
    ("JsonLines", {}, read_json_lines, json_value),
    ("Msgpack", {"max_frame_bytes": LIMIT, "array_keys": True}, read_msgpack, msgpack_value),
    ("Resp", {"max_frame_bytes": 2**14}, read_resp2, resp_value),
]

# Elements enough to complete any frame within the limit.
PADDING = {"Msgpack": b"\xc0" * LIMIT, "Resp": b"_\r\n" * 5000}


@pytest.fixture(scope="module")
def compared(figure):
    """How many inputs went through both decoders of each pair."""
    counts = {}
    yield counts
    figure(f"T-08 differential: {len(counts)} pairs of decoders, {sum(counts.values())} inputs, 0 disagreements")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "other", "message_of"), DECODERS, ids=[row[0] for row in DECODERS])
def test_two_decoders_agree(codecs, compared, name, options, other, message_of):
    """The same messages, and both want more of what follows or both refuse it."""
    codec = getattr(codecs, name)(**options)
    chance = random.Random(20_261_121)
    messages_seen = refusals_seen = inputs = 0
    while inputs < INPUTS:
        messages = [message_of(chance) for _ in range(chance.randrange(4))]
        if chance.randrange(10) == 0:
            wire = chance.randbytes(chance.randrange(40))
        else:
            try:
                wire = mutate(chance, codec.encode_many(messages))
            except LocalProtocolError:
                continue
        messages, rest = ours(codec, wire)
        other_messages, other_rest = other(wire)
        if other_rest == UNKNOWN:
            continue
        if (rest, other_rest) == (MORE, REFUSED) and name in PADDING:
            # Ours looks at the content of whole frames only. Then this one is refused when it is whole.
            padded = decode_chunks(codec, [wire + PADDING[name]], eof=False)
            rest = REFUSED if padded.error is not None and len(padded.messages) == len(messages) else MORE
        inputs += 1
        messages_seen += len(messages)
        refusals_seen += rest == REFUSED

        assert (same_form(other_messages), other_rest) == (same_form(messages), rest), wire
    compared[name] = inputs

    assert messages_seen > INPUTS // 2
    assert refusals_seen > INPUTS // 20 or name == "Lines"
