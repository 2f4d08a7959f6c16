"""A connection that goes on in another process: what is told of it, and what has to be the same at both ends.

`snapshot` is the format. `law` and `codecs` say what of it concerns deadlines and codecs. The format is imported by
servers that hand connections over, and by no others.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


class CannotMoveError(Exception):
    """A connection cannot be handed over, or not taken over. The text says why."""


def key_of(told: Any) -> Hashable:
    """Return a key as it was: tuples come as lists."""
    return tuple(map(key_of, told)) if isinstance(told, list) else told
