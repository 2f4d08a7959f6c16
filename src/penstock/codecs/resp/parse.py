"""From the bytes of one whole RESP value, whose frames are right, to Python."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Final

from ...errors import BadPayloadError
from .frames import LF, MAX_BIG_NUMBER_DIGITS
from .values import Attributed, ErrorReply, ListedMap, ListedSet, Push, SimpleString, VerbatimString

_INTEGER: Final = re.compile(rb"[+-]?(?:0|[1-9][0-9]*)")
# Servers before Redis 7.2 write a NaN as their C library does, which may be with a sign.
_DOUBLE: Final = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|inf)|-?nan")
_KEYS: Final = (bytes, float, VerbatimString, type(None))
_BOOLEANS: Final = {b"t": True, b"f": False}

# One argument of an inline command, as Redis cuts them: bare bytes, then perhaps a quoted rest, then white space.
_ARGUMENT: Final = re.compile(
    rb"""([^\s"']*)(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\'|\\(?!'))*)')?(?:\s+|$)""",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def parse_value(data: bytes, at: int) -> tuple[Any, int]:
    """Return the value at ``data[at:]`` and where it ends.

    Raises:
        BadPayloadError: A number, boolean or verbatim string is malformed, or a map's key is not one by `require_keys`.
    """
    first = data[at : at + 1]
    line_end = data.index(LF, at)
    line = data[at + 1 : line_end - 1]
    at = line_end + 1
    match first:
        case b"$" | b"!" | b"=":
            if line == b"-1":
                return None, at
            end = at + int(line)
            blob = data[at:end]
            return blob if first == b"$" else ErrorReply(blob) if first == b"!" else parse_verbatim(blob), end + 2
        case b"*" | b"~" | b">":
            if line == b"-1":
                return None, at
            items = []
            for _ in range(int(line)):
                item, at = parse_value(data, at)
                items.append(item)
            return items if first == b"*" else Push(items) if first == b">" else make_set(items), at
        case b"%" | b"|":
            pairs = []
            for _ in range(int(line)):
                key, at = parse_value(data, at)
                require_keys((key,))
                value, at = parse_value(data, at)
                pairs.append((key, value))
            entries = make_map(pairs)
            if first == b"%":
                return entries, at
            value, at = parse_value(data, at)
            return Attributed(value, entries), at
        case b"+":
            return SimpleString(line), at
        case b"-":
            return ErrorReply(line), at
        case _:
            return parse_scalar(first, line), at


def parse_scalar(first: bytes, line: bytes) -> object:
    """Read the line of a null, boolean or number.

    Raises:
        BadPayloadError: It is malformed.
    """
    if first == b"_" and not line:
        return None
    if first == b"#" and line in _BOOLEANS:
        return _BOOLEANS[line]
    if first == b"," and _DOUBLE.fullmatch(line):
        number = float(line)
        if math.isfinite(number) or not line[-1:].isdigit():  # 1e999 is no double
            return number
    if first in b":(" and _INTEGER.fullmatch(line) and len(line.lstrip(b"+-")) <= MAX_BIG_NUMBER_DIGITS:
        integer = int(line)
        if first == b"(" or -(1 << 63) <= integer < 1 << 63:
            return integer
    raise BadPayloadError(f"{(first + line)[:80]!r} is not a RESP value")


def parse_verbatim(blob: bytes) -> VerbatimString:
    """Part a verbatim string from its format.

    Raises:
        BadPayloadError: It does not begin with one.
    """
    if blob[3:4] != b":" or not blob[:3].isascii():
        raise BadPayloadError("a RESP verbatim string does not begin with its format")
    return VerbatimString(blob[4:], blob[:3].decode())


def make_set(items: list[Any]) -> frozenset[Any] | ListedSet:
    """Make a set of values, or list them where it would not be the set that was sent."""
    if not all(map(_is_key, items)):
        return ListedSet(items)
    made = frozenset(items)
    return made if len(made) == len(items) or not _merges(items, len(made)) else ListedSet(items)


def make_map(entries: list[tuple[Any, Any]]) -> dict[Any, Any] | ListedMap:
    """Make a dict, or list the entries where keys that are not the same are equal in Python.

    Of a key that stands twice the last value counts.
    """
    made = dict(entries)
    if len(made) == len(entries) or not _merges([key for key, _ in entries], len(made)):
        return made
    return ListedMap({(type(key), key): (key, value) for key, value in entries}.values())


def _merges(values: list[Any], count: int) -> bool:
    """Whether more than ``count`` of the values differ in RESP, whose types are not equal to one another."""
    return len({(type(value), value) for value in values}) > count


def require_keys(values: Iterable[Any]) -> None:
    """See that values may be keys of a map.

    Lists, maps and attributes cannot be hashed. Sets, and numbers beyond 64 bits, have a hash without a secret in it: a
    peer can choose as many of one hash as a frame has room for, and to put n of them in a dict takes n² comparisons.

    Raises:
        BadPayloadError: One may not.
    """
    if not all(map(_is_key, values)):
        raise BadPayloadError("a map's key in RESP is a container or a number beyond 64 bits")


def _is_key(value: object) -> bool:
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    return isinstance(value, _KEYS)


def split_inline(line: bytes) -> list[bytes]:
    r"""Cut an inline command into its arguments, as Redis does.

    White space separates. ``"…"`` may hold white space and ``\n \r \t \b \a \xHH \"``, ``'…'`` may hold white space and
    ``\'``; a closing quote ends the argument.

    Raises:
        BadPayloadError: A quote is not closed, or something follows a closing one.
    """
    arguments = []
    at = len(line) - len(line.lstrip())
    while at < len(line):
        match = _ARGUMENT.match(line, at)
        if match is None:
            raise BadPayloadError("unbalanced quotes in an inline command")
        bare, double, single = match.groups()
        if double is not None:
            bare += _ESCAPE.sub(_unescape, double)
        elif single is not None:
            bare += single.replace(rb"\'", b"'")
        arguments.append(bare)
        at = match.end()
    return arguments


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes.fromhex(match[1].decode())
    return _ESCAPES.get(match[2], match[2])
