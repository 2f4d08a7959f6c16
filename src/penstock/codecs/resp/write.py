"""From Python to the bytes of one RESP value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from ...errors import BadPayloadError, LocalProtocolError
from ..base import NULL, Null
from .frames import CR, KNOWN_TYPES, LF, MAX_BIG_NUMBER_DIGITS
from .parse import require_keys
from .values import (
    Attributed,
    ErrorReply,
    InlineCommand,
    ListedMap,
    ListedSet,
    NullArray,
    Push,
    SimpleString,
    VerbatimString,
)

_BARE: Final = re.compile(rb"[^\s\"'\\\0]+")
_BIG_NUMBER_END: Final = 10**MAX_BIG_NUMBER_DIGITS

# The bytes of a value; for a container those of its header, and the values that follow it.
_Written = tuple[bytes, Iterable[Any] | None]


def write_value(value: Any, *, resp3: bool, max_depth: int) -> bytes:
    """Return ``value`` as RESP3, or as RESP2.

    Raises:
        LocalProtocolError: The protocol has no form for it, or more than ``max_depth`` containers are nested.
        TypeError: A value in it is of a type that would not come back as itself.
    """
    if isinstance(value, InlineCommand):
        return _write_inline(value)
    if type(value) is list and set(map(type, value)) == {bytes}:  # a command
        return b"*%d\r\n%b" % (len(value), b"".join([b"$%d\r\n%b\r\n" % (len(item), item) for item in value]))
    parts: list[bytes] = []
    waiting = [iter((value,))]  # without recursion: how deep is the message's doing
    while waiting:
        for item in waiting[-1]:
            data, inside = _writer(item)(item, resp3)
            if parts and data.startswith(b">"):
                raise LocalProtocolError("a RESP push inside another value")
            parts.append(data)
            if inside is not None:
                if len(waiting) > max_depth:
                    raise LocalProtocolError(f"the message is nested deeper than max_depth={max_depth}")
                waiting.append(iter(inside))
                break
        else:
            waiting.pop()
    return b"".join(parts)


def _write_inline(words: InlineCommand) -> bytes:
    """Return a command in words, those in quotes that need them.

    Raises:
        LocalProtocolError: There is no word.
        TypeError: A word is no bytes.
    """
    if not words:
        raise LocalProtocolError("a command in words needs one")
    if set(map(type, words)) != {bytes}:
        raise TypeError("the words of a command are bytes")
    return b" ".join([word if _is_bare(word) else _quoted(word) for word in words]) + b"\r\n"


def _is_bare(word: bytes) -> bool:
    return _BARE.fullmatch(word) is not None and word[0] not in KNOWN_TYPES


def _quoted(word: bytes) -> bytes:
    plain = frozenset(b" !#$%&'()*+,-./:;<=>?@[]^_`{|}~")
    return b'"%b"' % b"".join(
        [b"%c" % byte if bytes((byte,)).isalnum() or byte in plain else b"\\x%02x" % byte for byte in word]
    )


def _writer(value: Any) -> Callable[[Any, bool], _Written]:
    writer = _WRITERS.get(type(value))
    if writer is None:
        # An IntEnum or a defaultdict is written as what it derives from.
        writer = next((writer for kind, writer in _WRITERS.items() if isinstance(value, kind)), None)
        if writer is None:
            raise TypeError(f"RESP has no {type(value).__name__}: its strings are bytes and its arrays are lists")
    return writer


def _need_keys(values: Iterable[Any]) -> None:
    try:
        # Others are what bytes stand for.
        require_keys(value for value in values if isinstance(value, int | frozenset | tuple))
    except BadPayloadError as error:
        raise LocalProtocolError(f"the message would be refused: {error}") from None


def _need_resp3(resp3: bool, what: str) -> None:
    if not resp3:
        raise LocalProtocolError(f"RESP2 has no {what}: protocol=3 has")


def _blob(value: bytes | bytearray | memoryview, _: bool) -> _Written:
    value = bytes(value)
    return b"$%d\r\n%b\r\n" % (len(value), value), None


def _list(value: list[Any], _: bool) -> _Written:
    return b"*%d\r\n" % len(value), value


def _null(_: Null | None, resp3: bool) -> _Written:
    return b"_\r\n" if resp3 else b"$-1\r\n", None


def _simple(value: SimpleString, _: bool) -> _Written:
    if CR in value or LF in value:
        raise LocalProtocolError("a simple string of RESP cannot hold CR or LF")
    return b"+%b\r\n" % value, None


def _error(value: ErrorReply, resp3: bool) -> _Written:
    if CR not in value and LF not in value:
        return b"-%b\r\n" % value, None
    _need_resp3(resp3, "errors that hold CR or LF")
    return b"!%d\r\n%b\r\n" % (len(value), value), None


def _integer(value: int, resp3: bool) -> _Written:
    if -(1 << 63) <= value < 1 << 63:
        return b":%d\r\n" % value, None
    if not -_BIG_NUMBER_END < value < _BIG_NUMBER_END:
        raise LocalProtocolError(f"a RESP number has {MAX_BIG_NUMBER_DIGITS} digits at most")
    _need_resp3(resp3, "integers beyond 64 bits")
    return b"(%d\r\n" % value, None


def _boolean(value: bool, resp3: bool) -> _Written:
    _need_resp3(resp3, "booleans")
    return b"#t\r\n" if value else b"#f\r\n", None


def _double(value: float, resp3: bool) -> _Written:
    _need_resp3(resp3, "doubles")
    return b",%b\r\n" % float.__repr__(value).encode(), None


def _verbatim(value: VerbatimString, resp3: bool) -> _Written:
    _need_resp3(resp3, "verbatim strings")
    if len(value.format) != 3 or not value.format.isascii():
        raise LocalProtocolError(f"the format of a verbatim string is three ASCII characters, not {value.format!r}")
    return b"=%d\r\n%b:%b\r\n" % (4 + len(value.text), value.format.encode(), value.text), None


def _push(value: Push, resp3: bool) -> _Written:
    _need_resp3(resp3, "pushes")
    return b">%d\r\n" % len(value), value


def _set(value: set[Any] | frozenset[Any] | ListedSet, resp3: bool) -> _Written:
    _need_resp3(resp3, "sets")
    if not isinstance(value, ListedSet):  # it would come back as one
        _need_keys(value)
    return b"~%d\r\n" % len(value), value


def _listed_map(value: ListedMap, resp3: bool) -> _Written:
    _need_resp3(resp3, "maps")
    _need_keys(key for key, _ in value)
    return b"%%%d\r\n" % len(value), (part for entry in value for part in entry)


def _null_array(_: NullArray, resp3: bool) -> _Written:
    return b"_\r\n" if resp3 else b"*-1\r\n", None


def _map(value: dict[Any, Any], resp3: bool) -> _Written:
    _need_resp3(resp3, "maps")
    _need_keys(value)
    return b"%%%d\r\n" % len(value), (part for entry in value.items() for part in entry)


def _attributed(value: Attributed, resp3: bool) -> _Written:
    _need_resp3(resp3, "attributes")
    attributes = value.attributes if isinstance(value.attributes, ListedMap) else value.attributes.items()
    _need_keys(key for key, _ in attributes)
    entries = [part for entry in attributes for part in entry]
    return b"|%d\r\n" % len(value.attributes), [*entries, value.value]


# What derives from another of these stands before it: bool before int, SimpleString before bytes, Push before list.
_WRITERS: Final[dict[type, Callable[[Any, bool], _Written]]] = {
    SimpleString: _simple,
    ErrorReply: _error,
    Push: _push,
    ListedSet: _set,
    ListedMap: _listed_map,
    VerbatimString: _verbatim,
    Attributed: _attributed,
    type(None): _null,
    type(NULL): _null,
    NullArray: _null_array,
    bool: _boolean,
    int: _integer,
    float: _double,
    bytes: _blob,
    bytearray: _blob,
    memoryview: _blob,
    list: _list,
    dict: _map,
    set: _set,
    frozenset: _set,
}
