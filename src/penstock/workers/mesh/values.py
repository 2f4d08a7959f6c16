"""Messages and keys on their way to another worker: plain data, and what has a class that both know."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import msgspec

from ...errors import LocalProtocolError


def packed(message: Any) -> tuple[str, bytes]:
    """Return a message as its class, empty for plain data, and bytes.

    Raises:
        LocalProtocolError: It is nothing that can be told.
    """
    kind = type(message)
    name = ""
    if issubclass(kind, msgspec.Struct | tuple) or dataclasses.is_dataclass(kind):
        name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        return name, msgspec.msgpack.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise LocalProtocolError(f"a message of {kind.__qualname__} cannot go to another worker: {error}") from error


def unpacked(told: tuple[str, bytes]) -> Any:
    """Return what was packed.

    Raises:
        LocalProtocolError: This process has no such class, or it is another one here.
    """
    name, data = told
    if not name:
        return msgspec.msgpack.decode(data)
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    # Nothing else is made from what came, whatever it names.
    known = isinstance(found, type) and (issubclass(found, msgspec.Struct | tuple) or dataclasses.is_dataclass(found))
    if not known:
        raise LocalProtocolError(f"this worker does not know {qualname} of {module}")
    try:
        return msgspec.msgpack.decode(data, type=found)
    except msgspec.DecodeError as error:
        raise LocalProtocolError(f"a message of {qualname} is another one in this worker: {error}") from error
