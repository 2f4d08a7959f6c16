"""What cuts one message past the codec of its connection: a number of bytes, or all up to a delimiter."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from ..codecs.base import Codec
from ..codecs.delimited import Delimited
from ..codecs.fixed import Fixed
from ..errors import FrameTooLongError, LocalProtocolError

# More than will ever be there; sums of it do not overflow where they are compiled.
LARGEST: Final = 1 << 48


def exactly(n: int, codec: Codec[Any], max_bytes: int | None) -> Codec[bytes] | None:
    """Return what takes the next ``n`` bytes; None where that is nothing.

    Raises:
        ValueError: ``n`` is below 0.
        FrameTooLongError: It is above ``max_bytes``, or what the connection's codec allows.
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more, not {n}")
    most = _most(codec, max_bytes)
    if n > most:
        raise FrameTooLongError(n, most)
    return fixed(n) if n else None


def until(delimiter: bytes, codec: Codec[Any], max_bytes: int | None) -> Codec[bytes]:
    """Return what takes the bytes up to the next delimiter, and that.

    Raises:
        ConfigurationError: ``delimiter`` is empty or too long, or ``max_bytes`` is below 1.
        TypeError: ``delimiter`` is no bytes.
    """
    if not isinstance(delimiter, bytes):
        raise TypeError(f"a delimiter is bytes, not {type(delimiter).__name__}")
    return _delimited(delimiter, _most(codec, max_bytes))


def _most(codec: Codec[Any], max_bytes: int | None) -> int:
    most = codec.max_frame_bytes if max_bytes is None else max_bytes
    return most if most <= LARGEST else LARGEST  # noqa: FURB136 - a call for each message


def no_stream() -> LocalProtocolError:
    """Return the error for a transport that keeps the bounds of each message."""
    return LocalProtocolError("a datagram or record is one message: it cannot be cut by bytes; use receive")


@lru_cache(maxsize=256)
def fixed(size: int) -> Fixed:
    """Return a cutter that takes ``size`` bytes, 1 or more."""
    return Fixed(size)


@lru_cache(maxsize=64)
def _delimited(delimiter: bytes, max_bytes: int) -> Delimited:
    return Delimited(delimiter, max_frame_bytes=max_bytes)
