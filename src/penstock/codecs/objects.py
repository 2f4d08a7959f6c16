"""What the codecs of objects share: the type that their messages are decoded into and checked against."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, get_args, get_origin

from ..errors import ConfigurationError
from .base import Codec

if TYPE_CHECKING:
    import msgspec

M = TypeVar("M")

Format = Literal["json", "msgpack"]

# How pydantic marks the classes that it validates: its models, and its dataclasses.
_PYDANTIC: Final = "__pydantic_validator__"


class ObjectCodec(Codec[M]):
    """Base of the codecs whose messages are objects, read by msgspec into a type.

    Attributes:
        type: What a message is decoded into and checked against; ``Any``: what the format itself has.
    """

    message_type = object
    type: Any

    def for_type(self, type: Any) -> Self:  # noqa: A002  # msgspec's word for it
        """Return the same codec for messages of another type.

        Raises:
            ConfigurationError: Messages cannot be decoded into it.
        """
        other = copy.copy(self)
        other._read(type)  # noqa: SLF001  # it is of this class
        return other

    @abstractmethod
    def _read(self, type: Any) -> None:  # noqa: A002
        """Decode into ``type`` from now on."""


def decoder_of(format: Format, type: Any, **hooks: Any) -> Callable[[bytes], Any]:  # noqa: A002  # both are the words for it
    """Return what decodes one JSON or MessagePack object into ``type``, or raises a ValueError.

    What msgspec knows is read by msgspec: its structs, dataclasses, attrs classes, TypedDicts, named tuples, containers
    and unions of them. Models and dataclasses of pydantic are validated by pydantic.

    Args:
        format: Of the object.
        type: What to decode it into.
        hooks: Further arguments of msgspec's decoder.

    Raises:
        ConfigurationError: No object can be decoded into ``type``.
    """
    import msgspec  # noqa: PLC0415  # 37 ms that only these codecs' users pay

    module = msgspec.json if format == "json" else msgspec.msgpack
    if type is Any:
        plain: Callable[[bytes], Any] = module.Decoder(**hooks).decode
        return plain
    if any(hasattr(part, _PYDANTIC) for part in _parts(type)):
        return _read_by_pydantic(format, module.Decoder(**hooks).decode, type)
    decode: Callable[[bytes], Any] = _made(type, lambda: module.Decoder(type, dec_hook=_from_builtins, **hooks).decode)
    return decode


def converter_of(type: Any, natives: tuple[Any, ...] = ()) -> Callable[[Any], Any]:  # noqa: A002
    """Return what makes a ``type`` of a value that was decoded already, or raises a ValueError.

    Args:
        type: As of `decoder_of`.
        natives: Types that the format itself has, beside those of JSON: their values are taken as they are.

    Raises:
        ConfigurationError: No value can be converted into ``type``.
    """
    import msgspec  # noqa: PLC0415

    if type is Any:
        return lambda value: value
    if any(hasattr(part, _PYDANTIC) for part in _parts(type)):
        return _validated_by_pydantic(type)
    _made(type, lambda: None)

    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(value, type, builtin_types=natives, dec_hook=_from_builtins)
        except (msgspec.MsgspecError, RecursionError) as error:  # of what base is a matter of the release
            raise ValueError(str(error)) from None

    return convert


def _made(type: Any, make: Callable[[], Any]) -> Any:  # noqa: A002
    """Make what reads a type with msgspec.

    Raises:
        ConfigurationError: msgspec cannot read it.
    """
    import msgspec  # noqa: PLC0415

    try:
        made = make()
        unknown = next(_unknown(msgspec.inspect.type_info(type)), None)
    except Exception as error:
        raise ConfigurationError(f"cannot decode into {name_of(type)}: {error}") from error
    if unknown is not None:
        raise ConfigurationError(f"cannot decode into {name_of(unknown)}: {_KNOWN}")
    return made


_KNOWN: Final = (
    "write a msgspec.Struct, a dataclass, an attrs class, a pydantic model, a TypedDict, or a built-in type such as "
    "list[int]"
)


def name_of(annotation: Any) -> str:
    """Write a type as its author did, as far as that is known."""
    return annotation.__qualname__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield a type and the types it is written with: of ``list[A | B]`` the list, the union, A and B."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)


def _unknown(info: msgspec.inspect.Type) -> Iterator[Any]:
    """Yield the classes inside a type that msgspec can make nothing of, nor `_from_builtins`."""
    import msgspec  # noqa: PLC0415

    waiting: list[Any] = [info]
    seen: set[Any] = set()
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.CustomType):
            if not hasattr(info.cls, "model_validate"):
                yield info.cls
            continue
        cls = getattr(info, "cls", None)
        if cls is not None:
            if cls in seen:
                continue
            seen.add(cls)
            if hasattr(cls, _PYDANTIC):  # a dataclass of pydantic: its own rules would not be looked at
                yield cls
        for name in getattr(info, "__struct_fields__", ()):
            value = getattr(info, name)
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, msgspec.inspect.Field):
                    waiting.append(inner.type)
                elif isinstance(inner, msgspec.inspect.Type):
                    waiting.append(inner)


# -- pydantic, where the user's types are its own ----------------------------------------------------------------------


def _read_by_pydantic(format: Format, plain: Callable[[bytes], Any], type: Any) -> Callable[[bytes], Any]:  # noqa: A002
    import pydantic  # noqa: PLC0415  # the user's types are of it

    adapter = _adapter(type)

    def decode(data: bytes) -> Any:
        found = plain(data)  # refuses what is no JSON to msgspec: NaN, for one
        try:
            return adapter.validate_json(data) if format == "json" else adapter.validate_python(found)
        except pydantic.ValidationError as error:
            raise ValueError(_in_one_line(error)) from None

    return decode


def _validated_by_pydantic(type: Any) -> Callable[[Any], Any]:  # noqa: A002
    import pydantic  # noqa: PLC0415

    adapter = _adapter(type)

    def convert(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except pydantic.ValidationError as error:
            raise ValueError(_in_one_line(error)) from None

    return convert


def _adapter(type: Any) -> Any:  # noqa: A002
    import pydantic  # noqa: PLC0415

    try:
        return pydantic.TypeAdapter(type)
    except Exception as error:
        raise ConfigurationError(f"cannot decode into {name_of(type)}: {error}") from error


def _from_builtins(type: Any, value: object) -> object:  # noqa: A002
    """Make a model of pydantic that is a field of something else, for msgspec."""
    try:
        return type.model_validate(value)
    except ValueError as error:
        raise ValueError(_in_one_line(error)) from None


def _in_one_line(error: Any) -> str:
    """Say what pydantic found first, as msgspec would, and how much more there is."""
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    more = f" (and {len(others)} more)" if others else ""
    return f"{first['msg']}{f' - at `${where}`' if where else ''}{more}"


def to_builtins(value: Any) -> object:
    """Return what msgspec can write for an object that it cannot: a model of pydantic.

    Raises:
        TypeError: It is none.
    """
    if hasattr(type(value), _PYDANTIC):
        return value.model_dump()
    raise TypeError(f"{type(value).__name__} has no form in this codec")
