"""The RESP types that Python has no type for. All others are None, bool, int, float, bytes, list, dict, frozenset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


class SimpleString(bytes):
    """A simple string (``+OK``): bytes without CR and LF. Equal to bytes of the same content."""

    __slots__ = ()


class ErrorReply(bytes):
    """An error (``-ERR what is wrong``), or in RESP3 a bulk error. Equal to bytes of the same content."""

    __slots__ = ()

    @property
    def code(self) -> bytes:
        """Its first word, by convention in capitals: ``ERR``, ``WRONGTYPE``."""
        return self.partition(b" ")[0]


class Push(list[Any]):
    """Out-of-band data of RESP3 (``>``), never inside anything else. Equal to a list of the same content."""

    __slots__ = ()


class ListedSet(list[Any]):
    """A set of RESP3 that is no set of Python: a member cannot be hashed, or two that RESP keeps apart are equal here.

    Equal to a list of the same content. Redis sends sets of arrays and maps: what COMMAND says of arguments.
    """

    __slots__ = ()


class ListedMap(list[tuple[Any, Any]]):
    """A map of RESP3 that is no dict: two keys that RESP keeps apart are equal in Python, as 1, 1.0 and True are.

    A list of its entries, each a key and a value.
    """

    __slots__ = ()


class InlineCommand(list[bytes]):
    """A command that is written in words, as typed into telnet. Equal to a list of its words."""

    __slots__ = ()


class NullArray:
    """The type of `NULL_ARRAY`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NULL_ARRAY"


# What RESP2 writes ``*-1``, where None is ``$-1``: an EXEC that was not done. It arrives as None.
NULL_ARRAY: Final = NullArray()


def command(*arguments: bytes | str | float) -> list[bytes]:
    """Return a command as clients of Redis write it: text is UTF-8, numbers are their digits.

    Raises:
        TypeError: An argument is nothing of these: None and True are no text that a server would understand.
    """
    return list(map(_argument, arguments))


def _argument(value: object) -> bytes:
    match value:
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case str():
            return value.encode()
        case int() | float() if not isinstance(value, bool):
            return repr(value + 0).encode()  # not the name that a member of an IntEnum has
        case _:
            raise TypeError(f"an argument of a command is bytes, str, int or float, not {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class VerbatimString:
    """A text with its format (``=``).

    Attributes:
        text: The content.
        format: Three ASCII characters: ``txt``, ``mkd``.
    """

    text: bytes
    format: str = "txt"


@dataclass(frozen=True, slots=True)
class Attributed:
    """A value with attributes before it (``|``), which who does not know them may pass over.

    Attributes:
        value: The value itself.
        attributes: What is said about it.
    """

    value: Any
    attributes: dict[Any, Any] | ListedMap
