"""The annotation is the schema: of functions, conversations and callback classes, however it is written."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec
import pytest

import penstock
from penstock.codecs import NEED_DATA, Codec, JsonLines, Lines, Msgpack
from penstock.core.schema import fitted
from penstock.errors import ApplicationError, BadPayloadError

if TYPE_CHECKING:
    from somewhere import Elsewhere

T = TypeVar("T")


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Reading(msgspec.Struct):
    celsius: float


class Warm(Reading):
    pass


def f_point(message: Point) -> Point: ...
def f_conn(conn: penstock.ConnectionBase[Any], message: Point) -> None: ...
async def f_async(message: list[Point]) -> None: ...
def f_later(message: Defined) -> None: ...
def f_quoted(message: list["Point"]) -> None: ...  # noqa: UP037  # a name in quotes within an annotation
def f_unsaid(message): ...
def f_any(message: Any) -> None: ...
def f_object(message: object) -> None: ...
def f_elsewhere(message: Elsewhere) -> None: ...
def f_bytes(message: bytes) -> bytes: ...
def f_str(message: str) -> str: ...
def f_either(message: str | bytes) -> None: ...
def f_literal(message: Literal[b"a"]) -> None: ...
def f_ints(message: list[int]) -> int: ...
def f_reading(message: Reading) -> None: ...
def f_unknown(message: list[threading_lock]) -> None: ...
async def c_points(conn: penstock.Connection[Point]) -> None: ...
async def c_unsaid(conn: penstock.Connection) -> None: ...
def c_blocking(conn: penstock.BlockingConnection[list[int]]) -> None: ...


class threading_lock:  # noqa: N801  # lower case, as threading.Lock would be
    pass


@dataclasses.dataclass
class Defined:
    x: int


class Callbacks(penstock.Handler[Point]):
    def on_message(self, conn, message: Point): ...


class ByItsBase(penstock.Handler[Point]):
    def on_message(self, conn, message): ...


class Between(penstock.Handler[T], Generic[T]):
    def on_message(self, conn: penstock.ConnectionBase[T], message: T) -> None: ...


class ThroughAnother(Between[list[Point]]):
    pass


class OnlyGreets(penstock.Handler[Point]):
    def on_connect(self, conn): ...


def wrapped(function):
    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments)

    return call


def typed(target, codec="json-lines"):
    """The type that a service over such a codec decodes into."""
    return fitted(penstock.as_service(target, codec=codec)).codec.type


@pytest.mark.parametrize("codec", ["json-lines", "msgpack:max=1KiB", "cbor"])
@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (f_point, Point),
        (f_conn, Point),
        (f_async, list[Point]),
        (f_later, Defined),
        (f_quoted, list[Point]),
        (f_ints, list[int]),
        (wrapped(f_point), Point),
        (functools.partial(f_conn, None), Point),
        (c_points, Point),
        (c_blocking, list[int]),
        (Callbacks, Point),
        (ByItsBase, Point),
        (ThroughAnother, list[Point]),
        (f_unsaid, Any),
        (f_any, Any),
        (f_object, Any),
        (c_unsaid, Any),
        (Between, Any),
        (OnlyGreets, Any),
        (len, Any),
    ],
)
def test_messages_are_decoded_into_what_the_handler_is_annotated_with(target, kind, codec):
    """In every form of a handler; where nothing is said, into what the format has."""
    if isinstance(target, functools.partial):
        service = penstock.on_message(codec=codec)(target)

        assert kind == fitted(service).codec.type
    else:
        assert kind == typed(target, codec)


def test_a_type_of_a_function_around_it_is_found_where_it_is_used():
    """It has to be captured, for Python keeps no other trace of it."""

    @dataclasses.dataclass
    class Local:
        x: int

    def handler(message: Local) -> bool:
        return isinstance(message, Local)

    assert Local is typed(handler)


def test_the_type_survives_another_codec():
    """Whether the annotation says it or the codec."""
    annotated = penstock.as_service(f_ints, codec="json-lines").with_codec("msgpack")
    made_for = penstock.as_service(f_unsaid, codec=JsonLines(type=Point)).with_codec("msgpack:max=1KiB")

    assert isinstance(annotated.codec, Msgpack)
    assert list[int] == fitted(annotated).codec.type
    assert (Point, 1024) == (fitted(made_for).codec.type, made_for.codec.max_frame_bytes)


@pytest.mark.parametrize(
    ("target", "codec", "text"),
    [
        (f_elsewhere, "json-lines", "cannot resolve the annotation Elsewhere: name 'Elsewhere' is not defined"),
        (f_unknown, "json-lines", "cannot decode into threading_lock: write a msgspec.Struct, a dataclass"),
        (f_bytes, "json-lines", "takes bytes; codec json-lines gives decoded JSON; for lines of bytes say codec lines"),
        (f_reading, JsonLines(type=Point), "takes Reading; codec json-lines was made for Point"),
        (f_unknown, "cbor", "cannot decode into threading_lock: write a msgspec.Struct, a dataclass"),
        (f_point, "struct:format=>HH", "cannot decode a record into Point: write a NamedTuple or tuple"),
        (f_str, "lines", "takes str; codec lines gives bytes; use codec text"),
        (f_bytes, "text", "takes bytes; codec text gives str; use codec lines"),
        (f_ints, "lines", "takes list[int]; codec lines gives bytes; use codec json-lines or msgpack"),
        (f_point, "length-prefixed", "takes Point; codec length-prefixed gives bytes; use codec json-lines or msgpack"),
        (Callbacks, "lines", "takes Point; codec lines gives bytes"),
        (ByItsBase, "lines", "takes Point; codec lines gives bytes"),
        (c_points, "lines", "takes Point; codec lines gives bytes"),
    ],
)
def test_an_annotation_that_cannot_be_kept_is_refused_at_start(target, codec, text):
    """With the handler's name, its file and its line; never served unvalidated."""
    with pytest.raises(ApplicationError) as caught:
        penstock.serve(target, codec=codec)

    name = target.__name__
    place, _, problem = str(caught.value).partition(")")
    assert place.startswith(f"{name} (")
    assert "test_schema.py:" in place
    assert problem.removeprefix(":").strip().startswith(text)


@pytest.mark.parametrize(
    ("target", "codec"),
    [
        (f_bytes, "lines"),
        (f_bytes, "msgpack"),
        (f_str, "text"),
        (f_str, "json-lines"),
        (f_either, "lines"),
        (f_either, "text"),
        (f_literal, "lines"),
        (f_elsewhere, "lines"),  # nothing is decoded there
        (f_unsaid, "lines"),
        (f_object, "text"),
        (f_reading, JsonLines(type=Warm)),
        (f_reading, JsonLines(type=Reading)),
        (f_point, "resp"),  # its values are what they are
        (f_bytes, Lines()),
    ],
)
def test_what_fits_is_served(target, codec):
    """In doubt too: a checker of types knows more than we do."""
    service = penstock.serve(target, codec=codec).service

    assert penstock.as_service(target, codec=codec).codec.name == service.codec.name


def test_bytes_are_decoded_from_json_for_one_who_asks_for_that():
    """msgspec has base64 for them."""
    service = penstock.as_service(f_bytes, codec=JsonLines(type=bytes))

    assert bytes is fitted(service).codec.type


@pytest.mark.parametrize("engine", ["auto", "pure", "blocking"])
async def test_a_message_of_another_type_closes_with_bad_payload(engine):
    """Its peer alone is told off: no handler failed."""
    server = penstock.serve(f_ints, codec="json-lines", port=0, engine=engine)
    async with server:
        conn = await penstock.connect(server.addresses[0], codec="json-lines")
        async with conn:
            await conn.send("hello")
            with pytest.raises(penstock.EndOfStreamError):
                await conn.receive()
        await server.wait_connections(0)

    assert {"bad_payload": 1} == {str(reason): n for reason, n in server.stats.closed.items() if n}
    assert 0 == server.stats.handler_errors


def test_the_service_itself_is_as_it_was():
    """Fitting is of what is served; the refusal of a message is its codec's."""
    service = penstock.as_service(f_ints, codec="json-lines")
    codec = fitted(service).codec

    assert Any is service.codec.type
    with pytest.raises(BadPayloadError):
        codec.decode_datagram(b'"hello"')


class Unsaid(Codec):
    """A codec of one's own that says nothing of its messages."""

    def decode(self, buffer):
        return NEED_DATA

    def encode(self, message):
        return b""


class Inherited(Lines):
    """A codec that decodes anew what another says it gives as bytes."""

    def decode(self, buffer):
        return NEED_DATA


class Said(Inherited):
    """A codec that says something else."""

    message_type = str


class Plain(Lines):
    """A codec that only adds to what another decodes."""


@pytest.mark.parametrize(
    ("codec", "why"),
    [
        (Unsaid(), "codec Unsaid does not say what it gives; let it have message_type = Point"),
        (Inherited(), "codec Inherited does not say what it gives; let it have message_type = Point"),
        (Said(), "codec lines gives str; use codec json-lines or msgpack"),
        (Plain(), "codec lines gives bytes; use codec json-lines or msgpack"),
    ],
)
def test_a_codec_of_ones_own_that_does_not_say_what_it_gives_is_told_how_to(codec, why):
    """No other codec is recommended: this one may well give what is wanted."""
    with pytest.raises(ApplicationError) as caught:
        penstock.serve(f_point, codec=codec)

    assert str(caught.value).endswith(f"takes Point; {why}")


def test_what_comes_in_is_what_the_annotation_names():
    """Of a codec for each direction, and of one that gives a header and a body."""

    @penstock.on_message(codec="json-lines/lines")
    def name_of(point: Point) -> bytes:
        return str(point.x).encode()

    @penstock.on_message(codec="lines/json-lines")
    def shout(line: bytes) -> list[str]:
        return [line.decode()]

    @penstock.on_message(codec="varint:offset=1,header=split")
    def split(message: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        return message

    assert Point(1, 2) == fitted(name_of).codec.decode_datagram(b'{"x": 1, "y": 2}')
    assert b"x" == fitted(shout).codec.decode_datagram(b"x")
    assert (b"T", b"x") == fitted(split).codec.decode_datagram(b"Tx")
