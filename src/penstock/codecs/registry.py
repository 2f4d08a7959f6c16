r"""Codecs by name, as the command line and the configuration write them: ``name`` or ``name:key=value,key=value``.

Two of them with a slash between are one for what comes in and one for what goes out.

The options of a codec are the keyword arguments of its class, and their annotations say how a value is read; nothing is
written down twice. ``max_frame_bytes`` is written ``max``, and ``_`` is written ``-``.

In a value ``\n``, ``\r``, ``\t``, ``\0``, ``\xNN``, ``\\`` and ``\,`` stand for one byte each.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import ConfigurationError
from ..installed import find_installed, installed
from ..suggest import did_you_mean
from ..units import format_duration, format_size, parse_duration, parse_size
from .base import Codec
from .cbor import Cbor
from .delimited import Delimited
from .duplex import Duplex
from .fixed import Fixed
from .gap import Gap
from .json_lines import JsonLines
from .json_stream import Json
from .length_prefixed import LengthPrefixed
from .lines import Lines
from .msgpack import Msgpack
from .netstring import Netstring
from .raw import Raw
from .resp import Resp
from .structs import Struct
from .text import Text
from .varint import Varint

_CLASSES: Final[tuple[type[Codec[Any]], ...]] = (
    Raw,
    Lines,
    Text,
    Delimited,
    Gap,
    LengthPrefixed,
    Varint,
    Netstring,
    Fixed,
    Struct,
    JsonLines,
    Json,
    Msgpack,
    Cbor,
    Resp,
)
_CODECS: Final = {codec.name: codec for codec in _CLASSES}

_OPTION: Final = re.compile(r"(?:[^\\,]|\\.)*", re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([nrt0\\,])|(.?))", re.DOTALL)
_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0", b"\\": b"\\", b",": b","}
_YES_NO: Final = {"yes": True, "no": False}
_KEYS: Final = {"max_frame_bytes": "max", "quiet_s": "quiet"}
_WORDS: Final = {bool: "yes or no", bytes: "bytes", str: "text", float: "a duration", NoneType: "none"}
_OWN: Final = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_][\w.]*)", re.ASCII)  # module:object; options have an equals sign


@dataclass(frozen=True, slots=True)
class CodecOption:
    """One option of a codec, in the words of a codec spec.

    Attributes:
        name: Its key.
        allowed: What a value may be: ``a size``, ``lf or crlf``.
        default: Its default as it would be written, or None: it has to be given.
    """

    name: str
    allowed: str
    default: str | None


@dataclass(frozen=True, slots=True)
class CodecInfo:
    """One codec for the list of codecs.

    Attributes:
        name: The word for it in a codec spec.
        summary: What it does, in one line.
        options: Its options in the order of its class.
    """

    name: str
    summary: str
    options: tuple[CodecOption, ...]


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A keyword argument of a codec class."""

    name: str
    kind: Any
    default: object

    @property
    def kinds(self) -> tuple[Any, ...]:
        """What a value may be: one, or one of several."""
        return get_args(self.kind) if get_origin(self.kind) in (Union, UnionType) else (self.kind,)

    @property
    def repeats(self) -> bool:
        """Whether it may be given several times."""
        return tuple[bytes, ...] in self.kinds

    @property
    def key(self) -> str:
        return _KEYS.get(self.name) or self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        words: list[str] = []
        for kind in self.kinds:
            if get_origin(kind) is Literal:
                words += map(str, get_args(kind))
            elif kind is int:
                words.append("a size" if self.name.endswith("bytes") else "a whole number")
            elif kind != tuple[bytes, ...]:
                words.append(_WORDS[kind])
        *most, last = words
        text = f"{', '.join(most)} or {last}" if most else last
        return f"{text}, once or more" if self.repeats else text

    @property
    def default_text(self) -> str | None:
        match self.default:
            case inspect.Parameter.empty:
                return None
            case bool(flag):
                return "yes" if flag else "no"
            case int(number) if self.name.endswith("bytes"):
                return format_size(number)
            case float() | None as seconds:
                return format_duration(seconds)
            case value:
                return str(value)

    def parse(self, text: bytes) -> object:
        """Read a value whose escapes have been resolved.

        Raises:
            ConfigurationError: It is not what is allowed.
        """
        if bytes in self.kinds:
            return text
        word = text.decode(errors="surrogateescape")
        for kind in sorted(self.kinds, key=lambda kind: kind is int):  # a word first: any other is taken for a number
            if get_origin(kind) is Literal:
                choices = {str(choice): choice for choice in get_args(kind)}
                if word in choices:
                    return choices[word]
            elif kind is bool:
                if word in _YES_NO:
                    return _YES_NO[word]
            elif kind is NoneType:
                if word == "none":
                    return None
            elif kind is float:
                if word != "none":
                    return parse_duration(word)
            elif kind is int:
                return -parse_size(word[1:]) if word.startswith("-") else parse_size(word)
            else:
                return word
        raise ConfigurationError(f"{word[:40]!r} is not {self.allowed}")


@cache
def _parameters(codec: type[Codec[Any]]) -> dict[str, _Parameter]:
    """Return a codec class's options by key, without the arguments no text can express (a Python type)."""
    kinds = get_type_hints(codec.__init__)
    parameters = [
        _Parameter(name, kinds[name], parameter.default)
        for name, parameter in inspect.signature(codec).parameters.items()
    ]
    return {parameter.key: parameter for parameter in parameters if all(map(_is_written, parameter.kinds))}


def _is_written(kind: Any) -> bool:
    """Whether a value of this kind can be written in a text."""
    return get_origin(kind) is Literal or kind in (int, *_WORDS, tuple[bytes, ...])


def describe_codecs() -> list[CodecInfo]:
    """Return every codec, in the order of the reference."""
    return [
        CodecInfo(
            name,
            (codec.__doc__ or "").partition("\n")[0],
            tuple(CodecOption(p.key, p.allowed, p.default_text) for p in _parameters(codec).values()),
        )
        for name, codec in _CODECS.items()
    ]


def parse_codec(spec: str) -> Codec[Any]:
    r"""Make the codec that ``spec`` names: ``lines``, ``lines:max=1KiB,quiet=400ms``, ``delimited:delimiter=\r\n\r\n``.

    ``module:object`` names the user's own: a `Codec`, or a class of codecs that is made without arguments. Another
    package's codec goes by the name that its entry point gives it, and a class of codecs takes options as ours do.
    ``lines/json-lines`` is one for what comes in and one for what goes out. A slash in a value is one of the two only
    where a codec's name follows it: ``\x2f`` is always a value's.

    Raises:
        ConfigurationError: No codec has that name (the nearest one is suggested), it has no such option, or a value is
            not allowed; what is not ours cannot be imported, is none, or two packages bring one of that name.
    """
    if both := _directions(spec):
        return Duplex(*map(parse_codec, both))
    name, colon, rest = spec.partition(":")
    codec = _CODECS.get(name)
    if codec is None and (own := _OWN.fullmatch(spec)):
        return _own_codec(*own.groups())
    if codec is None:
        found = _installed_codec(name)
        if isinstance(found, Codec):
            if colon:
                raise ConfigurationError(f"codec {name} is made already, and takes no options")
            return found
        codec = found
    parameters = _parameters(codec)
    arguments: dict[str, Any] = {}
    for key, text in _split(spec, rest) if colon else ():
        parameter = parameters.get(key)
        if parameter is None:
            meant = did_you_mean(key, parameters)
            raise ConfigurationError(f"codec {name} has no option {key[:40]!r}{meant} (it has {', '.join(parameters)})")
        if parameter.name in arguments and not parameter.repeats:
            raise ConfigurationError(f"codec {name}: {key} is given twice")
        try:
            value = parameter.parse(_unescape(text))
        except ConfigurationError as error:
            raise ConfigurationError(f"codec {name}: {key}: {error.problem}") from None
        arguments[parameter.name] = (*arguments.get(parameter.name, ()), value) if parameter.repeats else value
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and parameter.name not in arguments:
            raise ConfigurationError(f"codec {name} needs the option {key} ({parameter.allowed})")
    try:
        return codec(**arguments)
    except ConfigurationError as error:
        raise ConfigurationError(f"codec {name}: {error.problem}") from None


def _installed_codec(name: str) -> Codec[Any] | type[Codec[Any]]:
    """Return what another package calls so.

    Raises:
        ConfigurationError: None does, or two do; it cannot be imported, or is no codec.
    """
    entry = find_installed("codecs", name)
    if entry is None:
        names = [*_CODECS, *(each.name for each in installed("codecs") if each.name not in _CODECS)]
        meant = did_you_mean(name, names)
        raise ConfigurationError(f"no codec is called {name[:40]!r}{meant} (there are {', '.join(names)})")
    found = entry.load()
    if isinstance(found, Codec) or (isinstance(found, type) and issubclass(found, Codec)):
        return found
    raise ConfigurationError(f"{name} of the package {entry.package} is not a codec: {entry.place} is no Codec")


def runs_a_module(spec: str) -> bool:
    """Say whether a codec is none of ours: to make it is to run a module."""
    if both := _directions(spec):
        return any(map(runs_a_module, both))
    name = spec.partition(":")[0]
    return name not in _CODECS and (is_own(spec) or any(each.name == name for each in installed("codecs")))


def is_own(spec: str) -> bool:
    """Say whether a codec is the user's own, as ``module:object``."""
    return _OWN.fullmatch(spec) is not None


def mirrored(spec: str) -> str:
    """Return what the other end calls a codec: the same, and one of two directions the other way round."""
    both = _directions(spec)
    return "/".join(reversed(both)) if both else spec


def _directions(spec: str) -> tuple[str, str] | None:
    """Return the codecs of a text that names one for each direction."""
    at = spec.find("/")
    while at >= 0:
        receives, sends = spec[:at], spec[at + 1 :]
        name = sends.partition(":")[0]
        # Before the first colon no value can begin; in one, only a codec's name makes it the other direction.
        if (
            ":" not in receives
            or name in _CODECS
            or is_own(sends)
            or any(each.name == name for each in installed("codecs"))
        ):
            return receives, sends
        at = spec.find("/", at + 1)
    return None


def _own_codec(module: str, attribute: str) -> Codec[Any]:
    """Import the user's codec.

    Raises:
        ConfigurationError: There is no such module, its import fails, or what it holds by that name is no codec.
    """
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            problem = f"no codec is called {module!r}{did_you_mean(module, _CODECS)}, and no module either"
        else:
            problem = f"codec {module}:{attribute}: cannot import {module}: {type(error).__name__}: {error}"
        raise ConfigurationError(problem) from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    try:
        made = found() if isinstance(found, type) and issubclass(found, Codec) else found
    except TypeError as error:
        raise ConfigurationError(f"codec {module}:{attribute} cannot be made without arguments: {error}") from error
    if not isinstance(made, Codec):
        raise ConfigurationError(f"{module}:{attribute} is not a codec: expected a Codec or a Codec class")
    return made


def _split(spec: str, rest: str) -> Sequence[tuple[str, str]]:
    """Cut ``key=value,key=value`` at the commas that no backslash stands before."""
    pairs = []
    at = 0
    while True:
        match = _OPTION.match(rest, at)
        assert match is not None  # the pattern matches the empty string
        key, equals, value = match[0].partition("=")
        if not equals:
            raise ConfigurationError(f"{match[0][:40]!r} in codec {spec[:80]!r} is not of the form key=value")
        pairs.append((key, value))
        at = match.end()
        if at == len(rest):
            return pairs
        if rest[at] != ",":
            raise ConfigurationError(f"codec {spec[:80]!r} ends in a lone backslash: write \\\\ for one")
        at += 1


def _unescape(text: str) -> bytes:
    """Resolve the escapes of a value.

    Raises:
        ConfigurationError: There is another escape than those of the grammar.
    """

    def byte(match: re.Match[bytes]) -> bytes:
        if match[1]:
            return bytes.fromhex(match[1].decode())
        if match[2]:
            return _ESCAPES[match[2]]
        raise ConfigurationError(
            f"{match[0].decode(errors='replace')!r} is no escape: \\n, \\r, \\t, \\0, \\xNN, \\\\ and \\, are"
        )

    return _ESCAPE.sub(byte, text.encode(errors="surrogateescape"))
