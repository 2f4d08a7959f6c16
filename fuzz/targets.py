"""What is fuzzed, and what has to hold: functions of bytes that raise when a law is broken.

A decoder's input is one byte that picks a spec, one that says how the stream is cut, and the stream. Beside each other
stand the codec fed whole, fed in pieces, in batches as an engine does, and its compiled framing; messages, refusal and
what is left over are the same for all. What `encode` writes, the compiled framing writes too, or leaves to it.
Nothing but the package is needed.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.msgpack import Ext

from penstock.address import Peer, parse_address
from penstock.codecs import NEED_DATA, Buffer, Codec, parse_codec
from penstock.codecs.resp import Attributed, ErrorReply, Push, SimpleString, VerbatimString
from penstock.config import options
from penstock.config.files import read
from penstock.config.sources import load
from penstock.core.inbound import StreamInbound
from penstock.core.proxy import header_size, info_of, read_header, write_header
from penstock.errors import ConfigurationError, LocalProtocolError, ProxyError, RemoteProtocolError

try:
    from penstock.engines.native.framing import choice as framing
except ImportError:  # there is no compiled engine here: its part of the law is not looked at
    framing = None

SPECS: dict[str, tuple[str, ...]] = {
    "raw": ("raw", "raw:max=5"),
    "lines": (
        "lines",
        "lines:max=7",
        "lines:max=7,newline=crlf",
        "lines:max=7,keep-cr=yes",
        "lines:unterminated=deliver",
        "lines:max=7,on-oversize=skip,max-skip-bytes=30",
    ),
    "delimited": (
        "delimited:delimiter=ab",
        r"delimited:delimiter=\r\n,max=6",
        "delimited:delimiter=aab,max=9",
        "delimited:delimiter=aab,delimiter=b,keep-delimiter=yes,max=9",
    ),
    "length-prefixed": (
        "length-prefixed",
        "length-prefixed:size=1",
        "length-prefixed:size=2,byteorder=little,max=9",
        "length-prefixed:size=3,offset=1,adjustment=-4,header=keep,max=9",
        "length-prefixed:size=8,adjustment=2,max=9",
        "length-prefixed:size=8,adjustment=-2147483647",
        "length-prefixed:size=6,max=9",
        "length-prefixed:size=2,encoding=ascii,max=9,on-oversize=skip,max-skip-bytes=40",
        "length-prefixed:size=1,encoding=bcd,strip=2",
    ),
    "varint": ("varint", "varint:max=9"),
    "netstring": ("netstring", "netstring:max=12"),
    "fixed": ("fixed:size=3", "fixed:size=1"),
    "struct": ("struct:format=>Hd", "struct:format=<b3s?"),
    "json-lines": ("json-lines", "json-lines:max=20,max-depth=3", "json-lines:unterminated=deliver"),
    "json": ("json", "json:max=20,max-depth=3"),
    "msgpack": ("msgpack", "msgpack:max=20,max-depth=3"),
    "resp": ("resp", "resp:protocol=3", "resp:inline=yes,max=40,max-depth=3", "resp:protocol=3,inline=yes"),
}


class Seen(NamedTuple):
    """What came of a stream."""

    messages: list[str]  # as `shown`
    error: tuple[type[Exception], str, dict[str, Any]] | None
    rest: bytes


def decoder(name: str) -> Callable[[bytes], None]:
    """Return the target of one codec."""

    def check(data: bytes) -> None:
        if len(data) < 2:
            return
        codec = _codec(SPECS[name][data[0] % len(SPECS[name])])
        check_stream(codec, data[2:], data[1])

    return check


_codec = cache(parse_codec)


def check_stream(codec: Codec[Any], stream: bytes, seed: int) -> None:
    """Hold one stream to the laws of `Codec`, cut as ``seed`` says."""
    pieces = list(cut(stream, seed))
    whole, messages, rest = fed(codec, [stream])
    # How soon a frame is refused depends on how much is there, and with it what is said of it.
    in_pieces = fed(codec, pieces)[0]
    if codec.name != "raw":  # its messages are whatever came at once
        same("pieces", whole.messages, in_pieces.messages)
        same("pieces: refusal", whole.error and whole.error[0], in_pieces.error and in_pieces.error[0])
    same("batches", whole[:2], in_batches(codec, [stream], 1 + seed % 5)[:2])
    same("batches of pieces", in_pieces[:2], in_batches(codec, pieces, 1 + seed % 5)[:2])
    with contextlib.suppress(LookupError):
        if framing is not None:
            same("compiled", whole, compiled(codec, [stream]))
            same("compiled, pieces", in_pieces, compiled(codec, pieces))
    if whole.error is None:
        with contextlib.suppress(RemoteProtocolError):
            codec.finish(rest)
    for message in messages:
        frame = check_writing(codec, message)
        if frame is not None:
            same("encoded and decoded", Seen([shown(message)], None, b""), fed(codec, [frame])[0])


def check_writing(codec: Codec[Any], message: object) -> bytes | None:
    """Return what `encode` makes of a message, None where it refuses it; the framing writes the same or nothing."""
    try:
        frame = codec.encode(message)
    except (LocalProtocolError, TypeError):
        frame = None
    with contextlib.suppress(LookupError):
        if framing is not None and (written := framing.put(codec, message)) is not None:
            same("compiled, written", frame, written)
    return frame


def shown(message: Any) -> str:
    """Write a message so that NaN is the same as NaN, and 1 not the same as True."""
    if type(message) is list:
        return f"[{', '.join(map(shown, message))}]"
    if type(message) is dict:
        return f"{{{', '.join(f'{shown(key)}: {shown(value)}' for key, value in message.items())}}}"
    if isinstance(message, Ext):
        return f"Ext({message.code}, {bytes(message.data)!r})"
    return repr(message)


def about(error: Exception) -> tuple[type[Exception], str, dict[str, Any]]:
    """Return all that can be told of an error."""
    # Only `decode` says how much of the buffer a bad frame is: messages that may be skipped are cut singly.
    facts = {name: value for name, value in vars(error).items() if name != "skip_bytes"}
    return type(error), str(error), facts


def same(what: str, expected: object, actual: object) -> None:
    """Say which of the ways differs.

    Raises:
        AssertionError: They are not the same.
    """
    if expected != actual:
        raise AssertionError(f"{what}: expected {expected!r:.600}, got {actual!r:.600}")


def untouched(what: str, codec: Codec[Any], before: bytes, buffer: Buffer) -> None:
    """Say when a codec has changed bytes that it did not take, but for those at the front that it skips.

    Raises:
        AssertionError: It has.
    """
    same(what, before[len(before) - len(buffer) :] if codec.skips else before, bytes(buffer))


def cut(stream: bytes, seed: int) -> Iterator[bytes]:
    """Cut a stream: into single bytes, or at lengths that follow from ``seed``."""
    if seed == 0:
        yield from (stream[at : at + 1] for at in range(len(stream)))
        return
    at, state = 0, seed
    while at < len(stream):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        size = 1 + (state >> 16) % (seed % 29 + 1)
        yield stream[at : at + size]
        at += size


def fed(codec: Codec[Any], pieces: Iterable[bytes]) -> tuple[Seen, list[Any], Buffer]:
    """Decode message by message, the stream arriving in pieces."""
    buffer = Buffer()
    messages: list[Any] = []
    error = None
    try:
        for piece in pieces:
            buffer += piece
            while True:
                before = bytes(buffer)
                message = codec.decode(buffer)
                if message is NEED_DATA:
                    untouched("bytes that wait", codec, before, buffer)
                    break
                messages.append(message)
    except RemoteProtocolError as caught:
        error = about(caught)
        untouched("bytes that were refused", codec, before, buffer)
    return Seen(list(map(shown, messages)), error, bytes(buffer)), messages, buffer


def in_batches(codec: Codec[Any], pieces: Iterable[bytes], limit: int) -> Seen:
    """Decode as the engines in Python do."""
    inbound: StreamInbound[Any] = StreamInbound(codec)
    messages: list[str] = []
    try:
        for piece in pieces:
            inbound.feed(piece)
            while batch := inbound.take(limit):
                messages += map(shown, batch)
    except RemoteProtocolError as caught:
        return Seen(messages, about(caught), b"")
    return Seen(messages, None, b"")


def compiled(codec: Codec[Any], pieces: Iterable[bytes]) -> Seen:
    """Decode as the native engine does.

    Raises:
        LookupError: The codec has no compiled framing.
    """
    messages, error, rest = framing.cut_all(codec, pieces)
    if error is not None and not isinstance(error, RemoteProtocolError):
        raise error
    return Seen(list(map(shown, messages)), error and about(error), rest)


# -- messages ----------------------------------------------------------------------------------------------------------


def writing(data: bytes) -> None:
    """One byte picks a spec; the others are the message, or say what it is made of."""
    if data:
        codec = _codec(_SPECS[data[0] % len(_SPECS)])
        plain = codec.message_type is bytes and not data.endswith(b"\xff")
        check_writing(codec, data[1:] if plain else made_of(iter(data[1:])))


_SPECS = [spec for specs in SPECS.values() for spec in specs]


def made_of(data: Iterator[int], depth: int = 0) -> Any:
    """Make an object of as many bytes as it takes; None when there are no more."""
    kind, size = next(data, 0) % len(_MAKERS), next(data, 0)
    if kind < _CONTAINERS:
        return _MAKERS[kind](b"".join(bytes((each,)) for _, each in zip(range(size % 24), data, strict=False)))
    items = [made_of(data, depth + 1) for _ in range(min(size % 6, 600 - depth))]
    with contextlib.suppress(TypeError):  # unhashable
        return _MAKERS[kind](items)
    return items


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=False))


_MAKERS: tuple[Callable[[Any], Any], ...] = (
    lambda _: None,
    bool,
    lambda octets: int.from_bytes(octets, "big", signed=True),
    lambda octets: struct.unpack(">d", octets[:8].ljust(8, b"\0"))[0],
    bytes,
    bytearray,
    lambda octets: octets.decode("utf-8", "surrogateescape"),
    SimpleString,
    ErrorReply,
    VerbatimString,
    list,
    tuple,
    _pairs,
    frozenset,
    Push,
    lambda items: Attributed(items[:1], _pairs(items[1:])),
)
_CONTAINERS = _MAKERS.index(list)


# -- text --------------------------------------------------------------------------------------------------------------


def address(data: bytes) -> None:
    """An address is read or refused; what was read is read again from what is shown."""
    with contextlib.suppress(ConfigurationError):
        read_once = parse_address(data.decode("utf-8", "surrogateescape"))
        same("shown", read_once, parse_address(str(read_once)))


_OWN = re.compile(r"\w+(\.\w+)*:[\w.]+", re.ASCII)


def codec_spec(data: bytes) -> None:
    """A spec gives a codec or is refused. One that names a module is left out: it would import it."""
    text = data.decode("utf-8", "surrogateescape")
    if not _OWN.fullmatch(text):
        with contextlib.suppress(ConfigurationError):
            check_stream(parse_codec(text), b"", 1)


@cache
def _file() -> Path:
    directory = tempfile.TemporaryDirectory()
    _keep.append(directory)
    return Path(directory.name, "penstock.toml")


_keep: list[tempfile.TemporaryDirectory[str]] = []


def configuration(data: bytes) -> None:
    """A file is understood or refused with errors of ours."""
    path = _file()
    path.write_bytes(data)
    with contextlib.suppress(ConfigurationError):
        load(options(), document=read(path)).server_config()


PROXY = Peer(("192.0.2.1", 1), socket.AF_INET)


def proxy(data: bytes) -> None:
    """Read a PROXY header: how the stream is cut changes nothing, and what was read is written and read again."""
    if len(data) < 2:
        return
    stream = data[1:]
    came = bytearray()
    in_pieces: int | str | None = None
    for piece in cut(stream, data[0]):
        came += piece
        in_pieces = _size(bytes(came))
        if in_pieces is not None:
            break
    same("pieces", _size(stream), in_pieces)
    if not isinstance(in_pieces, int):
        return
    try:
        header = read_header(stream[:in_pieces])
        info_of(header, PROXY)
    except ProxyError:
        return
    same("written and read", header, read_header(write_header(header)))


def _size(stream: bytes) -> int | str | None:
    """Return how long the header is, why there is none, or None while that is not known."""
    try:
        return header_size(stream)
    except ProxyError as error:
        return str(error.reason)


TARGETS: dict[str, Callable[[bytes], None]] = {
    **{name: decoder(name) for name in SPECS},
    "writing": writing,
    "address": address,
    "codec-spec": codec_spec,
    "configuration": configuration,
    "proxy": proxy,
}
