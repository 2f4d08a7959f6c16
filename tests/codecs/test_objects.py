"""What JSON and MessagePack are decoded into: every kind of type that a user may have, and what is refused."""

import dataclasses
import datetime as dt
import math
from typing import Annotated, Literal, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from penstock.codecs import Buffer, JsonLines, Msgpack
from penstock.errors import BadPayloadError, ConfigurationError, LocalProtocolError

CODECS = [JsonLines, Msgpack]


class Structured(msgspec.Struct):
    x: int


@dataclasses.dataclass
class Plain:
    x: int


@dataclasses.dataclass
class Other:
    y: int


@attrs.define
class Attributed:
    x: int = attrs.field(validator=attrs.validators.gt(0))


class Typed(TypedDict):
    x: int


class Named(NamedTuple):
    x: int


class Model(pydantic.BaseModel):
    x: int
    when: dt.date | None = None


@pydantic.dataclasses.dataclass
class Checked:
    x: Annotated[int, pydantic.Field(gt=0)]


class Get(msgspec.Struct, tag=True):
    key: str


class Put(msgspec.Struct, tag=True):
    key: str
    value: int


class Holder(msgspec.Struct):
    model: Model


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


class Nothing:
    """Of which nobody knows how it is made."""


def passed(codec, message):
    """What arrives of a message."""
    return codec.decode(Buffer(codec.encode(message)))


@pytest.mark.parametrize("codec", CODECS)
class TestWhatIsDecodedInto:
    """An object of the type, whatever kind of type it is."""

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (Structured, Structured(1)),
            (Plain, Plain(1)),
            (Attributed, Attributed(1)),
            (Typed, {"x": 1}),
            (Named, Named(1)),
            (Model, Model(x=1, when=dt.date(2026, 1, 2))),
            (Checked, Checked(1)),
            (list[int], [1, 2, 39]),
            (dict[str, list[Plain]], {"a": [Plain(1)]}),
            (Get | Put, Put("k", 1)),
            (Cat | Dog, Dog(kind="dog")),
            (list[Model] | None, [Model(x=1)]),
            (Holder, Holder(Model(x=1))),
            (int, 5),
            (type(None), None),
        ],
        ids=repr,
    )
    def test_it_arrives_as_it_was_sent(self, codec, kind, message):
        """Of its own type, one message at a time or many."""
        made = codec(type=kind)

        assert message == passed(made, message)
        assert type(message) is type(passed(made, message))
        assert [message] * 2 == made.decode_many(made.encode_many([message] * 2), 9)[0]
        assert message == made.decode_datagram(made.encode_datagram(message))

    @pytest.mark.parametrize(
        ("kind", "sent"),
        [
            (Structured, {"x": "a"}),
            (Plain, {}),
            (Attributed, {"x": -1}),
            (Typed, {"x": None}),
            (Model, {"x": "a"}),
            (Model, [1]),
            (Checked, {"x": 0}),
            (list[int], "hello"),
            (Get | Put, {"type": "Delete", "key": "k"}),
            (Cat | Dog, {"kind": "cow"}),
            (Holder, {"model": {"x": "a"}}),
        ],
        ids=repr,
    )
    def test_what_is_something_else_is_refused(self, codec, kind, sent):
        """By its own validation too, in one line, and never with anything but ``bad_payload``."""
        wire = codec().encode(sent)
        with pytest.raises(BadPayloadError) as caught:
            codec(type=kind).decode(Buffer(wire))

        assert "\n" not in str(caught.value)
        assert str(caught.value)

    @pytest.mark.parametrize("kind", [Nothing, list[Nothing], Plain | Other, complex, set[complex], "Later"])
    def test_what_nothing_can_be_decoded_into_is_refused_when_the_codec_is_made(self, codec, kind):
        """Not when the first message comes."""
        with pytest.raises(ConfigurationError, match="cannot decode into"):
            codec(type=kind)

    def test_a_pydantic_dataclass_inside_another_type_is_refused(self, codec):
        """Its own rules would not be looked at there."""
        outer = msgspec.defstruct("Outer", [("inner", Checked)])
        with pytest.raises(ConfigurationError, match="cannot decode into Checked"):
            codec(type=outer)

    def test_another_type_is_another_codec_with_the_same_options(self, codec):
        """The first one decodes as before."""
        first = codec(max_depth=3, max_frame_bytes=100)
        second = first.for_type(list[int])

        assert (3, 100) == (second.max_depth, second.max_frame_bytes)
        assert {"a": 1} == passed(first, {"a": 1})
        assert [1] == passed(second, [1])
        with pytest.raises(BadPayloadError):
            passed(second, {"a": 1})

    def test_what_cannot_be_written_is_a_type_error(self, codec):
        """It is no message of the codec, wherever it stands."""
        with pytest.raises(TypeError, match="Nothing has no form"):
            codec().encode([Nothing()])


def test_a_number_that_json_has_not_is_refused_in_a_model_too():
    """It would arrive as null."""
    kind = pydantic.create_model("Kind", x=float)
    with pytest.raises(LocalProtocolError, match="NaN and infinity"):
        JsonLines().encode(kind(x=math.nan))
    with pytest.raises(BadPayloadError):
        JsonLines(type=kind).decode(Buffer(b'{"x":NaN}\n'))


def test_a_models_mistakes_are_counted_and_the_first_is_said():
    """As msgspec says it, with its place."""
    with pytest.raises(BadPayloadError) as caught:
        JsonLines(type=list[Model]).decode(Buffer(b'[{"x":"a"},{}]\n'))

    assert "at `$[0].x` (and 1 more)" in str(caught.value)
