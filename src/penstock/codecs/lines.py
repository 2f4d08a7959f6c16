"""Lines: text or bytes up to a line feed, with or without a carriage return before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import BadFrameError, ConfigurationError, LocalProtocolError
from .base import DEFAULT_MAX_LINE_BYTES, DEFAULT_MAX_SKIP_BYTES, NEED_DATA, Buffer, Codec, NeedData, OnOversize
from .delimited import Cut, Delimited, Unterminated, owes_end_after
from .octets import require_choice

_LF = 0x0A
_CR = 0x0D


class Lines(Delimited):
    """A message for each line: LF or CRLF is accepted, LF is sent.

    A line never ends in CR: all that stand before the LF are dropped (text converted twice has two), and `encode`
    refuses a message that ends in one. So what was received can always be sent, and comes back as it was. CR elsewhere
    in a line is data. Bytes are not decoded; an empty line is an empty message.

    That is lenient, and a risk where another program reads the same stream by another rule, before this one or after:
    where one sees two lines and the other one, a peer smuggles the second past the first. SMTP is such a protocol
    (RFC 5321 section 2.3.8), HTTP/1.1 another (RFC 9112 section 2.2). There, say ``strict``.

    Args:
        newline: What `encode` ends a line with: ``lf`` or ``crlf``.
        strict: A line ends as ``newline`` says and in no other way: CR or LF anywhere else is a bad frame. Not with
            ``keep_cr``, ``deliver``, ``skip`` or ``quiet_s``, each of which finds an end of its own.
        keep_cr: A line ends at LF alone and CR before it is data. Not with ``crlf``, whose CR would then be data.
        unterminated: What a last line without LF is at EOF: ``refuse`` it as truncated, or ``deliver`` it. CR alone is
            no line.
        on_oversize: What a line over ``max_frame_bytes`` does: ``close`` the connection, or be ``skip``ped.
        max_skip_bytes: The longest line that is skipped, in bytes; a longer one ends the connection.
        quiet_s: A rest without LF is a line when nothing has come for that long, in seconds, and at EOF; until the peer
            ends a line for the first time: from then on only line ends count. A line end that comes after such a rest
            is its own, and begins no empty line. Not with ``skip``. None: never.
        max_frame_bytes: Longest line without its LF or CRLF, in bytes; a longer one is refused as soon as it is.

    Raises:
        ConfigurationError: An option is out of its range, ``keep_cr`` comes with ``crlf``, or ``strict`` with an option
            that is lenient.
    """

    name = "lines"

    def __init__(
        self,
        *,
        newline: Literal["lf", "crlf"] = "lf",
        strict: bool = False,
        keep_cr: bool = False,
        unterminated: Unterminated = "refuse",
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        quiet_s: float | None = None,
        max_frame_bytes: int = DEFAULT_MAX_LINE_BYTES,
    ) -> None:
        super().__init__(
            b"\n",
            unterminated=unterminated,
            on_oversize=on_oversize,
            max_skip_bytes=max_skip_bytes,
            quiet_s=quiet_s,
            max_frame_bytes=max_frame_bytes,
        )
        require_choice("newline", newline, ("lf", "crlf"))
        if keep_cr and newline == "crlf":
            raise ConfigurationError("keep_cr does not go with newline=crlf: use the codec delimited for CRLF alone")
        self.newline: Literal["lf", "crlf"] = newline
        self.keep_cr = keep_cr
        if strict and (keep_cr or unterminated == "deliver" or on_oversize == "skip" or quiet_s is not None):
            raise ConfigurationError("strict does not go with keep_cr, unterminated=deliver, on_oversize=skip or quiet")
        self.strict = strict
        if strict:
            self._compiled = self._is_simple = False
        self._end = b"\r\n" if newline == "crlf" else b"\n"

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        """Take one line.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``, terminated or not.
            BadFrameError: CR or LF stands where ``strict`` allows none.
        """
        note = buffer.resume
        if self._is_simple and (note is None or type(note) is int):  # as `_find_frame` would, in fewer calls
            end = buffer.find(_LF, note or 0)
            if 0 <= end <= self.max_frame_bytes:
                has_cr = end and buffer[end - 1] == _CR
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                buffer.resume = None
                return line.rstrip(b"\r") if has_cr and not self.keep_cr else line
            if end < 0 and (size := len(buffer)) <= self.max_frame_bytes:
                buffer.resume = size
                return NEED_DATA
        if self.strict:
            self._look_at_ends(buffer)
        return self._without_cr(super().decode(buffer))

    def _look_at_ends(self, buffer: Buffer) -> None:
        """Refuse the first line, or what there is of it, if CR or LF stands where it may not."""
        searched = buffer.resume or 0
        end = buffer.find(_LF, searched)
        until = end if end >= 0 else len(buffer)
        if self.newline == "crlf":
            until -= 1  # where the CR of its end stands, or may stand
            if 0 <= end <= self.max_frame_bytes and buffer[max(0, until)] != _CR:
                raise BadFrameError("LF without CR before it, where strict lines end with CRLF")
        # What is beyond the limit is too long before it is anything else.
        until = min(max(0, until), self.max_frame_bytes + 1)
        if buffer.find(_CR, max(0, searched - 1), until) >= 0:
            wanted = "without LF after it, where strict lines end with CRLF" if self.newline == "crlf" else "in a line"
            raise BadFrameError(f"CR {wanted}")

    def encode(self, message: bytes) -> bytes:
        """End the message with a newline.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``, holds LF, or ends in CR without ``keep_cr``.
            TypeError: It is not bytes.
        """
        if type(message) is not bytes or len(message) > self.max_frame_bytes:
            message = self._payload(message)
        if _LF in message:
            raise LocalProtocolError("a line cannot hold LF: it would arrive as two")
        if _CR in message:
            if self.strict:
                raise LocalProtocolError("a strict line cannot hold CR: the other end refuses it")
            if message[-1] == _CR and not self.keep_cr:
                raise LocalProtocolError("a line cannot end in CR: it would arrive without it")
        return message + self._end

    def decode_many(self, data: bytes, limit: int) -> tuple[list[bytes], int]:
        """Take up to ``limit`` lines, at nearly the cost of ``bytes.split``.

        Raises:
            FrameTooLongError, BadFrameError: As `decode`, for the first one.
        """
        if self.on_oversize == "skip" or self.strict:
            return Codec.decode_many(self, data, limit)
        if len(data) <= self.max_frame_bytes and limit > 0:  # none of them can be too long
            lines = data.split(b"\n", limit)
            taken = len(data) - len(lines.pop())
        else:
            lines, taken = super().decode_many(data, limit)
        if _CR in data and not self.keep_cr:
            lines = [line.rstrip(b"\r") for line in lines]
        return lines, taken

    def encode_many(self, messages: Sequence[bytes]) -> bytes:
        """End each message with a newline, at nearly the cost of ``bytes.join``.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        count = len(messages)
        if count == 0:
            return b""
        end = self._end
        data = end.join(messages) + end
        if (
            data.count(_LF) == count
            and (self.keep_cr or data.count(_CR) == (count if len(end) == 2 else 0))
            and self._all_fit(messages, len(data) - count * len(end))
        ):
            return data
        # Something may be wrong with one of them, or a CR stands where it may: look at each.
        return b"".join([self.encode(message) for message in messages])

    def decode_quiet(self, buffer: Buffer) -> bytes | NeedData:
        """Take the rest as a line, without the CR at its end. CR alone is none, and is forgotten."""
        line = bytes(buffer) if self.keep_cr else bytes(buffer).rstrip(b"\r")
        buffer.clear()
        buffer.resume = Cut(b"", owes_end=owes_end_after(buffer, line))
        return line or NEED_DATA

    def _ends_cut(self, buffer: Buffer, cut: Cut) -> bool:
        end = 0 if self.keep_cr else len(buffer) - len(buffer.lstrip(b"\r"))
        if end == len(buffer):  # CR and nothing else: LF may follow
            return False
        if buffer[end] == _LF and cut.owes_end:
            del buffer[: end + 1]
            buffer.silence_counts = False
        buffer.resume = None
        return True

    def _last(self, buffer: Buffer) -> bytes | NeedData:
        # CR alone begins a newline, and there is no line before it.
        return super()._last(buffer) if self.keep_cr or buffer.strip(b"\r") else NEED_DATA

    def _without_cr(self, line: bytes | NeedData) -> bytes | NeedData:
        return line.rstrip(b"\r") if isinstance(line, bytes) and not self.keep_cr else line

    def _is_too_long(self, data: bytes | bytearray, size: int, *, terminated: bool) -> bool:
        """Whether the line is over the limit; one CR at its end belongs, or may belong, to the newline."""
        del terminated
        excess = size - self.max_frame_bytes
        return excess > 1 or self.keep_cr or data[size - 1] != _CR
