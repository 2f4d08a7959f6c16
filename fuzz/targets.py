"""What is fuzzed, and what has to hold: functions of bytes that raise when a law is broken.

A decoder's input is one byte that picks a spec, one that says how the stream is cut, and the stream. Beside each other
stand the codec fed whole, fed in pieces, in batches as an engine does, and its compiled framing; messages, refusal and
what is left over are the same for all. Nothing but the package is needed.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.msgpack import Ext

from penstock.address import parse_address
from penstock.codecs import NEED_DATA, Buffer, Codec, parse_codec
from penstock.config import options
from penstock.config.files import read
from penstock.config.sources import load
from penstock.core.inbound import StreamInbound
from penstock.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError

try:
    from penstock.engines.native.framing import cut_all
except ImportError:  # there is no compiled engine here: its part of the law is not looked at
    cut_all = None

SPECS: dict[str, tuple[str, ...]] = {
    "raw": ("raw", "raw:max=5"),
    "lines": (
        "lines",
        "lines:max=7",
        "lines:max=7,newline=crlf",
        "lines:max=7,keep-cr=yes",
        "lines:unterminated=deliver",
    ),
    "delimited": ("delimited:delimiter=ab", r"delimited:delimiter=\r\n,max=6", "delimited:delimiter=aab,max=9"),
    "length-prefixed": (
        "length-prefixed",
        "length-prefixed:size=1",
        "length-prefixed:size=2,byteorder=little,max=9",
        "length-prefixed:size=3,offset=1,adjustment=-4,header=keep,max=9",
        "length-prefixed:size=8,adjustment=2,max=9",
        "length-prefixed:size=8,adjustment=-2147483647",
    ),
    "varint": ("varint", "varint:max=9"),
    "netstring": ("netstring", "netstring:max=12"),
    "fixed": ("fixed:size=3", "fixed:size=1"),
    "struct": ("struct:format=>Hd", "struct:format=<b3s?"),
    "json-lines": ("json-lines", "json-lines:max=20,max-depth=3", "json-lines:unterminated=deliver"),
    "msgpack": ("msgpack", "msgpack:max=20,max-depth=3"),
    "resp": ("resp", "resp:protocol=3", "resp:inline=yes,max=40,max-depth=3", "resp:protocol=3,inline=yes"),
}


class Seen(NamedTuple):
    """What came of a stream."""

    messages: list[str]  # as `shown`
    error: tuple[type[Exception], str] | None
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
        if cut_all is not None:
            same("compiled", whole, compiled(codec, [stream]))
            same("compiled, pieces", in_pieces, compiled(codec, pieces))
    if whole.error is None:
        with contextlib.suppress(RemoteProtocolError):
            codec.finish(rest)
    for message in messages:
        try:
            frame = codec.encode(message)
        except (LocalProtocolError, TypeError):
            continue
        again = fed(codec, [frame])[0]
        same("encoded and decoded", Seen([shown(message)], None, b""), again)


def shown(message: Any) -> str:
    """Write a message so that NaN is the same as NaN, and 1 not the same as True."""
    if type(message) is list:
        return f"[{', '.join(map(shown, message))}]"
    if type(message) is dict:
        return f"{{{', '.join(f'{shown(key)}: {shown(value)}' for key, value in message.items())}}}"
    if isinstance(message, Ext):
        return f"Ext({message.code}, {bytes(message.data)!r})"
    return repr(message)


def same(what: str, expected: object, actual: object) -> None:
    """Say which of the ways differs.

    Raises:
        AssertionError: They are not the same.
    """
    if expected != actual:
        raise AssertionError(f"{what}: expected {expected!r:.600}, got {actual!r:.600}")


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
                    same("bytes that wait", before, bytes(buffer))
                    break
                messages.append(message)
    except RemoteProtocolError as caught:
        error = type(caught), str(caught)
        same("bytes that were refused", before, bytes(buffer))
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
        return Seen(messages, (type(caught), str(caught)), b"")
    return Seen(messages, None, b"")


def compiled(codec: Codec[Any], pieces: Iterable[bytes]) -> Seen:
    """Decode as the native engine does.

    Raises:
        LookupError: The codec has no compiled framing.
    """
    messages, error, rest = cut_all(codec, pieces)
    if error is not None and not isinstance(error, RemoteProtocolError):
        raise error
    return Seen(list(map(shown, messages)), None if error is None else (type(error), str(error)), rest)


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


TARGETS: dict[str, Callable[[bytes], None]] = {
    **{name: decoder(name) for name in SPECS},
    "address": address,
    "codec-spec": codec_spec,
    "configuration": configuration,
}
