"""Lines of text: str on this side, UTF-8 on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import BadEncodingError, LocalProtocolError, WrongTypeError
from .base import DEFAULT_MAX_LINE_BYTES, DEFAULT_MAX_SKIP_BYTES, NEED_DATA, Buffer, NeedData, OnOversize
from .delimited import Unterminated
from .lines import Lines
from .octets import Oversize, require_choice


class Text(Oversize[str]):
    """A str for each line of UTF-8: `Lines` with its bytes decoded.

    A line ends at LF, as of `Lines`; nothing else that Unicode calls a line end ends one. A character that the network
    cut in two is whole again before it is decoded.

    Args:
        errors: What becomes of bytes that are not UTF-8: ``strict`` refuses them, ``replace`` has U+FFFD read in their
            place. What is sent is UTF-8 always.
        newline: What `encode` ends a line with: ``lf`` or ``crlf``. Both are read.
        unterminated: What a last line without LF is at EOF: ``refuse`` it as truncated, or ``deliver`` it.
        on_oversize: What a line over ``max_frame_bytes`` does: ``close`` the connection, or be ``skip``ped.
        max_skip_bytes: The longest line that is skipped, in bytes; a longer one ends the connection.
        quiet_s: A rest without LF is a line when nothing has come for that long, in seconds: as of `Lines`.
        max_frame_bytes: Longest line without its LF or CRLF, in bytes of UTF-8.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    name = "text"
    message_type = str

    def __init__(
        self,
        *,
        errors: Literal["strict", "replace"] = "strict",
        newline: Literal["lf", "crlf"] = "lf",
        unterminated: Unterminated = "refuse",
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        quiet_s: float | None = None,
        max_frame_bytes: int = DEFAULT_MAX_LINE_BYTES,
    ) -> None:
        require_choice("errors", errors, ("strict", "replace"))
        self.errors: Literal["strict", "replace"] = errors
        self.newline: Literal["lf", "crlf"] = newline
        self.unterminated: Unterminated = unterminated
        self.max_frame_bytes = max_frame_bytes
        self._lines = Lines(
            newline=newline,
            unterminated=unterminated,
            on_oversize=on_oversize,
            max_skip_bytes=max_skip_bytes,
            quiet_s=quiet_s,
            max_frame_bytes=max_frame_bytes,
        )
        self._set_oversize(on_oversize, max_skip_bytes)
        self.quiet_s = self._lines.quiet_s
        self.skips = self._lines.skips
        self._compiled = self._lines._compiled  # noqa: SLF001 - of this codec, a part

    def decode(self, buffer: Buffer) -> str | NeedData:
        """Take one line and decode it.

        Raises:
            FrameTooLongError: The line is longer than ``max_frame_bytes``, terminated or not.
            BadEncodingError: It is not UTF-8, and ``errors`` is ``strict``.
        """
        end = self._lines.find_end(buffer)
        if end < 0:
            return NEED_DATA
        try:
            text = self._read(bytes(buffer[:end]).rstrip(b"\r"))  # before it is taken: a bad one is left where it is
        except BadEncodingError as error:
            raise error.skipping(end + 1)  # noqa: B904 - the same one
        del buffer[: end + 1]
        buffer.resume = None
        return text

    def decode_quiet(self, buffer: Buffer) -> str | NeedData:
        """Take the rest as a line, and decode it.

        Raises:
            BadEncodingError: As `decode`: the silence may have cut a character in two.
        """
        text = self._read(bytes(buffer).rstrip(b"\r"))  # before it is taken, as above
        return NEED_DATA if self._lines.decode_quiet(buffer) is NEED_DATA else text

    def finish(self, buffer: Buffer) -> str | NeedData:
        """Decode the unterminated rest, if there is one and that was asked for.

        Raises:
            TruncatedError: There is one and that was not asked for.
            BadEncodingError: As `decode`.
        """
        line = self._lines.finish(buffer)
        # By whose `decode` it is, as if the line feed had come.
        return NEED_DATA if line is NEED_DATA else self.decode(Buffer(line + b"\n"))

    def encode(self, message: str) -> bytes:
        """Write one line.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``, holds LF or a lone surrogate, or ends in CR.
            TypeError: It is no str.
        """
        return self._lines.encode(self._write(message))

    def decode_many(self, data: bytes, limit: int) -> tuple[list[str], int]:
        """Take up to ``limit`` lines and decode them.

        Raises:
            FrameTooLongError, BadEncodingError: As `decode`, for the first one.
        """
        if self.on_oversize == "skip":
            return super().decode_many(data, limit)
        lines, taken = self._lines.decode_many(data, limit)
        try:
            return [self._read(line) for line in lines], taken
        except BadEncodingError:
            return super().decode_many(data, limit)  # which stops before the bad one

    def encode_many(self, messages: Sequence[str]) -> bytes:
        """Write several lines.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        return self._lines.encode_many([self._write(message) for message in messages])

    def decode_datagram(self, data: bytes) -> str:
        """Decode a whole datagram, which may be empty, and may hold line ends.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``.
            BadEncodingError: As `decode`.
        """
        return self._read(self._lines.decode_datagram(data))

    def encode_datagram(self, message: str) -> bytes:
        """Write one message as it is.

        Raises:
            LocalProtocolError, TypeError: As `encode`, but line ends are allowed.
        """
        return self._lines.encode_datagram(self._write(message))

    def _read(self, line: bytes) -> str:
        try:
            return line.decode("utf-8", self.errors)
        except UnicodeDecodeError as error:
            start, reason = error.start, error.reason
        raise BadEncodingError(f"text that is not UTF-8 ({reason})", start)

    def _write(self, message: str) -> bytes:
        if not isinstance(message, str):
            raise WrongTypeError(self.name, "str", type(message).__name__)
        try:
            return message.encode()
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"the message has no UTF-8 form: {error.reason} at index {error.start}") from None
