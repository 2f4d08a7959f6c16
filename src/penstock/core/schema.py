"""The annotation is the schema: what a handler says that it takes decides what its messages are decoded into."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

from ..codecs.base import Codec, is_built_in
from ..codecs.names import JsonCodecName
from ..errors import ApplicationError, ConfigurationError
from .places import place_of, written

if TYPE_CHECKING:
    from .handlers import AnyHandler
    from .service import Service

_UNSAID: Final = (Any, object, inspect.Parameter.empty)
# JSON has base64 for them, where they are meant; but ``bytes`` was most likely left over from a codec of bytes.
_RAW_BYTES: Final = (bytes, bytearray, memoryview)


def fitted(service: Service[Any]) -> Service[Any]:
    """Return the service with its codec decoding into what its handler is annotated with.

    Codecs of objects (JSON, MessagePack) take the annotation as their type. Of a codec of bytes or text it is compared
    with what that gives.

    Raises:
        ApplicationError: The annotation cannot be resolved, nothing can be decoded into it, or it contradicts the
            codec or the type that this was made with.
    """
    from ..codecs.duplex import Duplex  # noqa: PLC0415  # as below
    from ..codecs.objects import ObjectCodec  # noqa: PLC0415  # most codecs need none of it

    codec = service.codec
    wanted = _Wanted(service.name, service.handler)
    if isinstance(codec, ObjectCodec):
        return replace(service, codec=_typed(codec, wanted))
    if isinstance(codec, Duplex) and isinstance(codec.receives, ObjectCodec):
        return replace(service, codec=Duplex(_typed(codec.receives, wanted), codec.sends))
    if codec.message_type is not object:
        wanted.check(codec)
    return service


def _typed(codec: Any, wanted: _Wanted) -> Codec[Any]:
    annotation = wanted.resolve()
    if annotation is Any:
        return typing.cast("Codec[Any]", codec)
    if codec.type is not Any:
        if isinstance(codec.type, type) and not _takes(annotation, codec.type):
            raise wanted.refused(f"codec {codec.name} was made for {_name_of(codec.type)}")
        return typing.cast("Codec[Any]", codec)
    if codec.name in get_args(JsonCodecName) and any(annotation is each for each in _RAW_BYTES):
        raise wanted.refused(f"codec {codec.name} gives decoded JSON; for lines of bytes say codec lines")
    try:
        return typing.cast("Codec[Any]", codec.for_type(annotation))
    except ConfigurationError as error:
        raise ApplicationError(f"{wanted.subject}: {error.problem}") from error


class _Wanted:
    """What a handler is annotated to take.

    Args:
        name: What its service is called.
        handler: The handler.

    Attributes:
        subject: What a message calls it: ``shout (hello.py:6)``.
    """

    def __init__(self, name: str, handler: AnyHandler) -> None:
        function, self._annotation, self._inherited = _annotation_of(handler)
        self._function = written(function)
        place = place_of(function)
        self.subject = f"{name} ({place})" if place else name

    def resolve(self) -> Any:
        """Return the annotation as a type; ``Any`` when there is none.

        Raises:
            ApplicationError: It names what is not there.
        """
        try:
            found = _resolved(self._function, self._annotation)
        except Exception as error:
            named = self._annotation if isinstance(self._annotation, str) else _name_of(self._annotation)
            raise ApplicationError(
                f"{self.subject}: cannot resolve the annotation {named}: {error}; "
                "import or define it at run time, in the handler's module"
            ) from error
        if found is Any and self._inherited is not Any:
            found = self._annotation = self._inherited
        return found

    def check(self, codec: Codec[Any]) -> None:
        """Compare it with what a codec of bytes or text gives. What cannot be resolved says nothing here.

        Raises:
            ApplicationError: It is something else.
        """
        try:
            annotation = self.resolve()
        except ApplicationError:
            return
        given = codec.message_type
        if not _takes(annotation, given):
            if not _says_what_it_gives(type(codec)):
                said = f"message_type = {_name_of(annotation)}"
                raise self.refused(f"codec {type(codec).__name__} does not say what it gives; let it have {said}")
            better = _BETTER.get(annotation, _OBJECTS) if isinstance(annotation, type) else _OBJECTS
            raise self.refused(f"codec {codec.name} gives {given.__name__}; use codec {better}")

    def refused(self, why: str) -> ApplicationError:
        """Make the error that says what it takes, and why that does not do."""
        annotation = self._annotation
        named = annotation if isinstance(annotation, str) else _name_of(annotation)
        return ApplicationError(f"{self.subject} takes {named}; {why}")


def _says_what_it_gives(kind: type[Codec[Any]]) -> bool:
    """Whether its ``message_type`` was meant for what it decodes: every built-in codec's is; others inherit one."""
    decoder = next(each for each in kind.__mro__ if "decode" in vars(each))
    return is_built_in(decoder) or any("message_type" in vars(each) for each in kind.__mro__ if not is_built_in(each))


# The codec that gives it, where one was chosen that does not.
_OBJECTS: Final = "json-lines or msgpack"
_BETTER: Final[dict[type, str]] = {str: "text", bytes: "lines"}


def _annotation_of(handler: AnyHandler) -> tuple[Callable[..., Any], Any, Any]:
    """Return the function that takes the messages, its annotation, unresolved, and X of ``class …(Handler[X])``."""
    from .handlers import CallbackHandler, Handler, MessageHandler  # noqa: PLC0415  # which imports this module

    if isinstance(handler, MessageHandler):
        return handler.function, _parameter(handler.function, 1 if handler.takes_connection else 0), Any
    if isinstance(handler, CallbackHandler):
        kind = handler.handler_class
        if kind.on_message is Handler.on_message:  # it takes none
            return kind.on_message, Any, Any
        return kind.on_message, _parameter(kind.on_message, 2), _argument_of(kind, Handler)
    return handler.function, _of_connection(handler.function), Any


def _parameter(function: Callable[..., Any], index: int) -> Any:
    try:
        if sys.version_info >= (3, 14):  # where a name that is not there would raise at once
            from annotationlib import Format  # noqa: PLC0415

            signature = inspect.signature(function, annotation_format=Format.FORWARDREF)
        else:
            signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not say
        return Any
    positional = [
        each
        for each in signature.parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    return positional[index].annotation if index < len(positional) else Any


def _of_connection(function: Callable[..., Any]) -> Any:
    """Return X of a first parameter annotated ``Connection[X]``; ``Any`` where it says no more than Connection."""
    annotation = _parameter(function, 0)
    if isinstance(annotation, str):
        inner = annotation.partition("[")[2].rpartition("]")[0]
        return inner if inner and "Connection" in annotation.partition("[")[0] else Any
    arguments = get_args(annotation)
    return (
        arguments[0] if len(arguments) == 1 and "Connection" in getattr(get_origin(annotation), "__name__", "") else Any
    )


def _argument_of(kind: type, base: type, known: Mapping[Any, Any] | None = None) -> Any:
    """Return X of ``class kind(base[X])``, through generic classes between them; ``Any`` where there is none."""
    bases = getattr(kind, "__dict__", {}).get("__orig_bases__", kind.__bases__)
    for written_base in bases:
        origin = get_origin(written_base) or written_base
        if not (isinstance(origin, type) and issubclass(origin, base)):
            continue
        arguments = [(known or {}).get(argument, argument) for argument in get_args(written_base)]
        if origin is base:
            return Any if not arguments or isinstance(arguments[0], TypeVar) else arguments[0]
        found = _argument_of(origin, base, dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False)))
        if found is not Any:
            return found
    return Any


def _is_unsaid(annotation: Any) -> bool:
    return isinstance(annotation, TypeVar) or any(annotation is each for each in _UNSAID)


def _resolved(function: Callable[..., Any], annotation: Any) -> Any:
    def probe() -> None: ...

    probe.__annotations__ = {"message": annotation}
    known = getattr(function, "__globals__", {})
    local = (
        dict(zip(function.__code__.co_freevars, _cells(function), strict=True)) if hasattr(function, "__code__") else {}
    )
    found = typing.get_type_hints(probe, globalns=known, localns=local, include_extras=True)["message"]
    return Any if _is_unsaid(found) else found


def _cells(function: Callable[..., Any]) -> list[Any]:
    found = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not set yet
            found.append(None)
    return found


def _takes(annotation: Any, given: type) -> bool:
    """Whether what is annotated so may be given an instance of ``given``; in doubt, yes."""
    if _is_unsaid(annotation):
        return True
    origin = get_origin(annotation)
    if origin is Annotated:
        return _takes(get_args(annotation)[0], given)
    if origin is Union or origin is UnionType:
        return any(_takes(each, given) for each in get_args(annotation))
    if origin is Literal:
        return any(isinstance(value, given) for value in get_args(annotation))
    kind = getattr(annotation, "__supertype__", None) or origin or annotation
    if kind is None:
        return False
    if not isinstance(kind, type):
        return True
    if typing.is_typeddict(kind):
        return issubclass(given, dict)
    try:
        return issubclass(given, kind)
    except TypeError:  # a protocol that is not checked at run time
        return True


def _name_of(annotation: Any) -> str:
    from ..codecs.objects import name_of  # noqa: PLC0415

    return name_of(annotation)
