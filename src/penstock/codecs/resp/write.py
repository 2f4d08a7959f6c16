"""From Python to the bytes of one RESP value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from ...errors import LocalProtocolError
from .frames import CR, LF, MAX_BIG_NUMBER_DIGITS
from .values import Attributed, ErrorReply, Push, SimpleString, VerbatimString

_BIG_NUMBER_END: Final = 10**MAX_BIG_NUMBER_DIGITS


class Writer:
    """Writes one value.

    Args:
        resp3: Whether the types of RESP3 are allowed.
        max_depth: How many containers may stand one inside the other.

    Attributes:
        parts: The bytes written so far.
    """

    __slots__ = ("_depth", "_max_depth", "_resp3", "parts")

    def __init__(self, *, resp3: bool, max_depth: int) -> None:
        self._resp3 = resp3
        self._max_depth = max_depth
        self._depth = 0
        self.parts: list[bytes] = []

    def write(self, value: Any) -> None:
        """Append ``value`` to ``parts``.

        Raises:
            LocalProtocolError: The protocol has no form for it, or it is nested too deep.
            TypeError: It is of a type that would not come back as itself.
        """
        write = _WRITERS.get(type(value))
        if write is None:
            # An IntEnum or a defaultdict is written as what it derives from.
            write = next((write for kind, write in _WRITERS.items() if isinstance(value, kind)), None)
            if write is None:
                raise TypeError(f"RESP has no {type(value).__name__}: its strings are bytes and its arrays are lists")
        write(self, value)

    def write_blob(self, value: bytes | bytearray | memoryview) -> None:  # noqa: D102  # write() is the contract
        value = bytes(value)
        self.parts.append(b"$%d\r\n%b\r\n" % (len(value), value))

    def write_list(self, value: list[Any]) -> None:  # noqa: D102
        self._write_items(b"*", len(value), value)

    def write_integer(self, value: int) -> None:  # noqa: D102
        if -(1 << 63) <= value < 1 << 63:
            self.parts.append(b":%d\r\n" % value)
        elif not -_BIG_NUMBER_END < value < _BIG_NUMBER_END:
            raise LocalProtocolError(f"a RESP number has {MAX_BIG_NUMBER_DIGITS} digits at most")
        else:
            self._need_resp3("integers beyond 64 bits")
            self.parts.append(b"(%d\r\n" % value)

    def write_null(self, value: None) -> None:  # noqa: D102
        del value
        self.parts.append(b"_\r\n" if self._resp3 else b"$-1\r\n")

    def write_simple(self, value: SimpleString) -> None:  # noqa: D102
        if CR in value or LF in value:
            raise LocalProtocolError("a simple string of RESP cannot hold CR or LF")
        self.parts.append(b"+%b\r\n" % value)

    def write_error(self, value: ErrorReply) -> None:  # noqa: D102
        if CR in value or LF in value:
            self._need_resp3("errors that hold CR or LF")
            self.parts.append(b"!%d\r\n%b\r\n" % (len(value), value))
        else:
            self.parts.append(b"-%b\r\n" % value)

    def write_boolean(self, value: bool) -> None:  # noqa: D102
        self._need_resp3("booleans")
        self.parts.append(b"#t\r\n" if value else b"#f\r\n")

    def write_double(self, value: float) -> None:  # noqa: D102
        self._need_resp3("doubles")
        self.parts.append(b",%b\r\n" % repr(value).encode())

    def write_verbatim(self, value: VerbatimString) -> None:  # noqa: D102
        self._need_resp3("verbatim strings")
        if len(value.format) != 3 or not value.format.isascii():
            raise LocalProtocolError(f"the format of a verbatim string is three ASCII characters, not {value.format!r}")
        self.parts.append(b"=%d\r\n%b:%b\r\n" % (4 + len(value.text), value.format.encode(), value.text))

    def write_push(self, value: Push) -> None:  # noqa: D102
        self._need_resp3("pushes")
        if self.parts:
            raise LocalProtocolError("a RESP push inside another value")
        self._write_items(b">", len(value), value)

    def write_set(self, value: set[Any] | frozenset[Any]) -> None:  # noqa: D102
        self._need_resp3("sets")
        self._write_items(b"~", len(value), value)

    def write_map(self, value: dict[Any, Any]) -> None:  # noqa: D102
        self._need_resp3("maps")
        self._write_items(b"%", len(value), (part for entry in value.items() for part in entry))

    def write_attributed(self, value: Attributed) -> None:  # noqa: D102
        self._need_resp3("attributes")
        entries = (part for entry in value.attributes.items() for part in entry)
        self._write_items(b"|", len(value.attributes), (*entries, value.value))

    def _write_items(self, first: bytes, count: int, items: Iterable[Any]) -> None:
        if self._depth == self._max_depth:
            raise LocalProtocolError(f"the message is nested deeper than max_depth={self._max_depth}")
        self._depth += 1
        self.parts.append(b"%b%d\r\n" % (first, count))
        for item in items:
            self.write(item)
        self._depth -= 1

    def _need_resp3(self, what: str) -> None:
        if not self._resp3:
            raise LocalProtocolError(f"RESP2 has no {what}: protocol=3 has")


# What derives from another of these stands before it: bool before int, SimpleString before bytes, Push before list.
_WRITERS: Final[dict[type, Callable[[Writer, Any], None]]] = {
    SimpleString: Writer.write_simple,
    ErrorReply: Writer.write_error,
    Push: Writer.write_push,
    VerbatimString: Writer.write_verbatim,
    Attributed: Writer.write_attributed,
    type(None): Writer.write_null,
    bool: Writer.write_boolean,
    int: Writer.write_integer,
    float: Writer.write_double,
    bytes: Writer.write_blob,
    bytearray: Writer.write_blob,
    memoryview: Writer.write_blob,
    list: Writer.write_list,
    dict: Writer.write_map,
    set: Writer.write_set,
    frozenset: Writer.write_set,
}
