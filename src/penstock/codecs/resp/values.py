"""The RESP types that Python has no type for. All others are None, bool, int, float, bytes, list, dict, frozenset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
    attributes: dict[Any, Any]
