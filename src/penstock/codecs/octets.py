"""What the codecs of plain bytes share: the check of a message, the cap, and datagrams without framing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from ..errors import ConfigurationError, FrameTooLongError, LocalProtocolError, WrongTypeError
from .base import DEFAULT_MAX_FRAME_BYTES, NEED_DATA, Buffer, Codec, NeedData, OnOversize

M = TypeVar("M")

LONGEST_QUIET_S: Final = 86_400.0


def require_range(name: str, value: int, low: int, high: int | None = None) -> int:
    """Return ``value``, or say which option is out of its range.

    Raises:
        ConfigurationError: It is not ``low`` to ``high`` (None: no upper end).
    """
    if value < low or (high is not None and value > high):
        allowed = f"{low} or more" if high is None else f"{low} to {high}"
        raise ConfigurationError(f"{name} must be {allowed}, not {value}")
    return value


def require_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Say which option has a value that is not one of ``choices``.

    Raises:
        ConfigurationError: It is not.
    """
    if value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")


def require_quiet(quiet_s: float) -> float:
    """Return how long a silence is that ends a message, in seconds.

    Raises:
        ConfigurationError: It is not over 0, or not a day at most.
    """
    if not 0 < quiet_s <= LONGEST_QUIET_S:
        raise ConfigurationError(f"quiet must be over 0 and at most a day, not {quiet_s} s")
    return quiet_s


class Oversize(Codec[M]):
    """What the codecs share whose frames say, or show, where they end, so that one may be passed over."""

    max_skip_bytes: int

    def _set_oversize(self, on_oversize: OnOversize, max_skip_bytes: int) -> None:
        require_choice("on_oversize", on_oversize, ("close", "skip"))
        self.max_skip_bytes = require_range("max_skip_bytes", max_skip_bytes, 1)
        self.on_oversize = on_oversize
        if on_oversize == "skip":
            self.skips = True
            self._compiled = False

    def _take_or_skip(self, buffer: Buffer, take: Callable[[Buffer], M | NeedData]) -> M | NeedData:
        """Take one message by ``take``, and pass over the frames before it that it refuses as too long.

        Of such a frame one byte stays in the buffer until its last has come, so that it counts as begun.
        """
        while True:
            left = buffer.resume
            if type(left) is Left:
                if len(buffer) < left.bytes:
                    gone = len(buffer) - 1
                    del buffer[:gone]
                    buffer.resume = Left(left.bytes - gone)
                    return NEED_DATA
                self._look_at_end(buffer[left.bytes - 1])
                del buffer[: left.bytes]
                buffer.resume = None
                buffer.skipped += 1
            try:
                return take(buffer)
            except FrameTooLongError as error:
                if error.frame_bytes is None or error.frame_bytes > self.max_skip_bytes:
                    raise
                buffer.resume = Left(error.frame_bytes)

    def _look_at_end(self, last: int) -> None:
        """Refuse the last byte of a frame that was passed over, where it has to be a certain one."""


def too_long(size: int, limit: int, frame_bytes: int | None) -> FrameTooLongError:
    """Return the error for a message of ``size`` bytes, with the size of its frame if that is known."""
    error = FrameTooLongError(size, limit)
    error.frame_bytes = frame_bytes
    return error


class Left(NamedTuple):
    """How much of a frame that is passed over is still to go."""

    bytes: int


class OctetsCodec(Oversize[M]):
    """Base of the codecs whose messages are bytes, or made of them.

    Args:
        max_frame_bytes: Largest message, in bytes, both ways; 1 or more.
    """

    def __init__(self, *, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes = require_range("max_frame_bytes", max_frame_bytes, 1)

    def _octets(self, message: Any) -> bytes:
        """Return ``message`` as bytes.

        Raises:
            TypeError: It is no bytes-like object; a str has to be encoded first.
        """
        if type(message) is bytes:
            return message
        try:
            # Not bytes(message), which makes five zeros of 5: join takes exactly what the batch form takes.
            return b"".join((message,))
        except TypeError:
            raise WrongTypeError(self.name, "bytes", type(message).__name__) from None

    def _payload(self, message: Any) -> bytes:
        """Return ``message`` as bytes of an allowed length.

        Raises:
            TypeError: It is no bytes-like object.
            LocalProtocolError: It is longer than ``max_frame_bytes``.
        """
        octets = self._octets(message)
        self._check_size(len(octets))
        return octets

    def _check_size(self, size: int) -> None:
        if size > self.max_frame_bytes:
            raise LocalProtocolError(f"message of {size} bytes exceeds max_frame_bytes={self.max_frame_bytes}")

    def _are_plain(self, messages: Sequence[Any]) -> bool:
        """Whether each message is bytes and within ``max_frame_bytes``, so that it needs no look of its own."""
        return set(map(type, messages)) == {bytes} and max(map(len, messages)) <= self.max_frame_bytes

    def _all_fit(self, messages: Sequence[bytes], total: int) -> bool:
        """Whether each message is within ``max_frame_bytes``, given their ``total`` size in bytes."""
        if total <= self.max_frame_bytes:
            return True
        # A memoryview's len is its items, not its bytes: then the sum is short, and encoding singly decides.
        return max(map(len, messages)) <= self.max_frame_bytes and sum(map(len, messages)) == total


class BytesCodec(OctetsCodec[bytes]):
    """Base of the codecs whose messages are bytes.

    A datagram is its own frame, so there the message stands alone, without delimiter or length. A message may be given
    as any bytes-like object; what is decoded is always bytes.
    """

    def decode_datagram(self, data: bytes) -> bytes:
        """Return the whole datagram, which may be empty.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``.
        """
        if len(data) > self.max_frame_bytes:
            raise FrameTooLongError(len(data), self.max_frame_bytes)
        return data

    def encode_datagram(self, message: bytes) -> bytes:
        """Return the message as it is.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``.
            TypeError: It is not bytes.
        """
        return self._payload(message)
