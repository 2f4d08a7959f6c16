"""Keys that other workers can be told: each of them has an equal one of what it is told."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from ..errors import ConfigurationError

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1


def plain_key(key: Hashable) -> Hashable:
    """Return an equal key of plain data, the same one for all that are equal: ``1`` for ``True`` and ``1.0``.

    Raises:
        ConfigurationError: There is none.
    """
    if key is None:
        return None
    plain: Any = None
    what = f"a {type(key).__name__}"
    if isinstance(key, str):
        plain = str.__str__(key)
        try:
            plain.encode()
        except UnicodeEncodeError:
            plain, what = None, "a str that is no text"
    elif isinstance(key, bytes):
        plain = key if type(key) is bytes else bytes(memoryview(key))
    elif isinstance(key, int | float):
        plain = int.__add__(key, 0) if isinstance(key, int) else float.__add__(key, 0.0)
        is_told = _INT_MIN <= plain <= _INT_MAX
        if isinstance(plain, float):
            plain = int(plain) if is_told and plain.is_integer() else plain
        elif not is_told:
            plain, what = None, "a number of more than 64 bits"
    elif isinstance(key, tuple):
        plain = tuple(map(plain_key, tuple.__iter__(key)))
    # A class of the user's may have an equality of its own, which no other worker knows.
    if plain is None or plain != key or hash(plain) != hash(key):
        raise ConfigurationError(
            f"key is {what}: other workers are told plain data, which is str, bytes, None, numbers of 64 bits, and "
            'tuples of these; take str(key), or scope="process"',
            "key",
        )
    told: Hashable = plain
    return told
