"""Of a connection's codec: which one it is, in a text that both ends compare, and what it remembers of its input."""

from __future__ import annotations

import inspect
import os
from typing import Any, Final

from ...codecs.base import Codec
from ...codecs.delimited import Cut, Gone
from ...codecs.octets import Left
from ...codecs.registry import parse_codec
from ...errors import ConfigurationError
from ..inbound import Remembered

# What can be written down as it is.
_PLAIN: Final = (type(None), bool, int, float, str, bytes)

_MISSING: Final = object()

_OURS: Final = "penstock.codecs."

_NOTES: Final = {kind.__name__.lower(): kind for kind in (Left, Gone, Cut)}


def text_of(codec: Codec[Any]) -> str:
    """Return what stands for a codec: its class, and the options it was made with as far as it shows them.

    An option that is a codec itself, as of `Duplex`, stands there with its own. A codec whose options cannot be asked
    for, as one of a class in C without a signature, has a text of its own in each process: no other one speaks it.
    """
    kind = type(codec)
    try:
        shown = [f"{name}={_shown(getattr(codec, name, None))}" for name in inspect.signature(kind).parameters]
    except Exception:  # what a property raises is the user's
        shown = [f"{os.getpid()}:{id(codec):x}"]
    return f"{kind.__module__}.{kind.__qualname__}({', '.join(shown)})"


def tells_all(codec: Codec[Any]) -> bool:
    """Whether `text_of` says all that a frame depends on, so that codecs of one text frame alike.

    It does not where an option is no attribute of its name, or is an object or a function: only its name is shown.
    """
    kind = type(codec)
    names = set(inspect.signature(kind).parameters)
    if kind.__module__.startswith(_OURS):
        names.discard("type")  # what a frame is decoded into, which is the same frame
    return all(_is_told(getattr(codec, name, _MISSING)) for name in names)


def _is_told(value: object) -> bool:
    if isinstance(value, Codec):
        return tells_all(value)
    if isinstance(value, tuple):
        return all(map(_is_told, value))
    return isinstance(value, _PLAIN)


def _shown(value: object) -> str:
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, Codec):
        return text_of(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return getattr(value, "__qualname__", type(value).__qualname__)


def named(text: str, name: str) -> Codec[Any] | None:
    """Return the codec that has a name and, made without options, this text; None where there is none."""
    try:
        codec = parse_codec(name)
    except ConfigurationError:
        return None
    return codec if text_of(codec) == text else None


def plain_of(remembered: Remembered | None) -> dict[str, Any] | None:
    """Return what an input remembers as plain data; None for nothing.

    Raises:
        TypeError: It cannot be told: the note of a codec of the user's.
    """
    if remembered is None:
        return None
    plain: dict[str, Any] = {"silence_counts": remembered.silence_counts}
    if remembered.silences is not None:
        plain["silences"] = list(remembered.silences)
    note = remembered.resume
    if type(note) in _NOTES.values():
        plain["note"] = [type(note).__name__.lower(), *note]
    elif note is not None and type(note) is not int:  # a number is where a search goes on: it may begin anew
        raise TypeError(f"a note of {type(note).__name__} cannot be handed over")
    return plain


def remembered_of(plain: dict[str, Any] | None) -> Remembered | None:
    """Return what `plain_of` was told.

    Raises:
        TypeError: It is of a newer version.
    """
    if plain is None:
        return None
    note, silences = plain.get("note"), plain.get("silences")
    if note is not None:
        kind, *fields = note
        if kind not in _NOTES:
            raise TypeError(f"nothing is known of a note of {kind}")
        note = _NOTES[kind](*fields)
    return Remembered(note, plain.get("silence_counts", True), None if silences is None else tuple(silences))
