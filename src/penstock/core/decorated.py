"""What a type checker sees of ``@on_message(codec=…)`` and ``@on_connection(codec=…)``: nothing here runs.

By the codec it is known what a handler is given and what it may return. JSON and MessagePack give whatever the handler
is annotated with, for the annotation is their schema; bytes are no JSON, and a handler of bytes is a mistake there.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from ..codecs.base import Buffer, NeedData

if TYPE_CHECKING:
    from .blocking import BlockingConnection
    from .contract import Connection, ConnectionBase
    from .service import FunctionService

M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")
Given_co = TypeVar("Given_co", covariant=True)
Taken_contra = TypeVar("Taken_contra", contravariant=True)


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _Attrs(Protocol):
    __attrs_attrs__: ClassVar[Any]


class _Struct(Protocol):
    __struct_fields__: ClassVar[tuple[str, ...]]


class _Model(Protocol):
    def model_dump(self) -> dict[str, Any]: ...


# What JSON is decoded into, and made of. No Sequence: bytes are one.
_Scalar = bool | int | float | str | enum.Enum | dt.date | dt.time | dt.timedelta | decimal.Decimal | uuid.UUID | None
_Container = list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any] | Mapping[Any, Any]
Json = _Scalar | _Container | _Dataclass | _Attrs | _Struct | _Model
Packed = Json | bytes | bytearray | memoryview

JsonMessage = TypeVar("JsonMessage", bound=Json)
PackedMessage = TypeVar("PackedMessage", bound=Packed)
BytesReply = TypeVar("BytesReply", bound=bytes | Awaitable[bytes | None] | None)
TextReply = TypeVar("TextReply", bound=str | Awaitable[str | None] | None)
JsonReply = TypeVar("JsonReply", bound=Json | Awaitable[Json])
PackedReply = TypeVar("PackedReply", bound=Packed | Awaitable[Packed])


class OfBytes(Protocol):
    """Takes a function of bytes."""

    def __call__(
        self,
        function: Callable[[bytes], BytesReply] | Callable[[ConnectionBase[bytes], bytes], BytesReply],
        /,
    ) -> FunctionService[bytes, BytesReply]:
        """Make the service."""


class OfText(Protocol):
    """Takes a function of str."""

    def __call__(
        self, function: Callable[[str], TextReply] | Callable[[ConnectionBase[str], str], TextReply], /
    ) -> FunctionService[str, TextReply]:
        """Make the service."""


class OfJson(Protocol):
    """Takes a function of what JSON is decoded into."""

    def __call__(
        self,
        function: Callable[[JsonMessage], JsonReply] | Callable[[ConnectionBase[JsonMessage], JsonMessage], JsonReply],
        /,
    ) -> FunctionService[JsonMessage, JsonReply]:
        """Make the service."""


class OfMsgpack(Protocol):
    """Takes a function of what MessagePack is decoded into."""

    def __call__(
        self,
        function: Callable[[PackedMessage], PackedReply]
        | Callable[[ConnectionBase[PackedMessage], PackedMessage], PackedReply],
        /,
    ) -> FunctionService[PackedMessage, PackedReply]:
        """Make the service."""


class Speaks(Protocol[Given_co, Taken_contra]):
    """A codec, by what it gives and what it takes: JSON decodes into one type and writes any."""

    def decode(self, buffer: Buffer, /) -> Given_co | NeedData:
        """Take one message off the front."""

    def encode(self, message: Taken_contra, /) -> bytes:
        """Frame one message."""


class OfMessages(Protocol[M, T]):
    """Takes a function of a codec's messages."""

    def __call__(
        self,
        function: Callable[[M], Awaitable[T | None] | T | None]
        | Callable[[ConnectionBase[M], M], Awaitable[T | None] | T | None],
        /,
    ) -> FunctionService[M, Awaitable[T | None] | T | None]:
        """Make the service."""


class OfAnything(Protocol):
    """Takes any function: what the codec gives is not known before it runs."""

    def __call__(self, function: Callable[..., Any], /) -> FunctionService[Any, Any]:
        """Make the service."""


class OfConnection(Protocol[M]):
    """Takes a conversation in a codec's messages."""

    def __call__(
        self, function: Callable[[Connection[M]], R] | Callable[[BlockingConnection[M]], R], /
    ) -> FunctionService[M, R]:
        """Make the service."""


class OfJsonConnection(Protocol):
    """Takes a conversation in what JSON is decoded into."""

    def __call__(
        self,
        function: Callable[[Connection[JsonMessage]], R] | Callable[[BlockingConnection[JsonMessage]], R],
        /,
    ) -> FunctionService[JsonMessage, R]:
        """Make the service."""
