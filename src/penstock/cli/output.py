"""What a peer says, on standard output: its very bytes for a pipe, text that cannot hurt for a terminal."""

import codecs
import os
import select
from typing import Final, Protocol

from ..core.texts import escape_text

PROMPT: Final = "> "
_ERASE_LINE: Final = "\r\x1b[K"


class Output(Protocol):
    """Where a conversation shows what the peer says."""

    def show(self, data: bytes, *, whole: bool) -> None:
        """Show a piece of a stream, or a whole message."""

    def ask(self) -> None:
        """Show that input is awaited."""

    def answered(self) -> None:
        """Note that input came."""

    def finish(self) -> None:
        """Show what was held back."""


class PipeOutput:
    """Writes bytes as they are, and waits for their reader: that is the back-pressure of a pipe.

    Args:
        fd: Where to.
    """

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd

    def show(self, data: bytes, *, whole: bool) -> None:
        """Write a piece of a stream, or a whole message and a newline.

        Raises:
            BrokenPipeError: The reader is gone.
        """
        write_all(self._fd, data + b"\n" if whole else data)

    def ask(self) -> None:
        """Show that input is awaited: a pipe needs no prompt."""

    def answered(self) -> None:
        """Note that input came."""

    def finish(self) -> None:
        """Write what was held back: nothing."""


class TerminalOutput:
    """Writes text. A character whose bytes have not all arrived waits for the rest; control characters are escaped.

    Args:
        fd: Where to.
        prompt: Whether a prompt is shown below what the peer says.
        erase: Whether the terminal understands the sequence that erases a line.
    """

    def __init__(self, fd: int = 1, *, prompt: bool, erase: bool) -> None:
        self._fd = fd
        self._prompt = PROMPT if prompt else ""
        self._erase = _ERASE_LINE if erase else "\n"
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._asking = False
        self._at_line_start = True
        self._return_held = False

    def show(self, data: bytes, *, whole: bool) -> None:
        """Write a piece of a stream, or a whole message on a line of its own.

        Raises:
            BrokenPipeError: The terminal is gone.
        """
        self._write(self._decoder.decode(data, final=whole), whole=whole)

    def ask(self) -> None:
        """Show the prompt, at the beginning of a line."""
        if self._prompt and not self._asking:
            write_all(self._fd, (("" if self._at_line_start else "\n") + self._prompt).encode())
            self._asking = self._at_line_start = True

    def answered(self) -> None:
        """Note that the user typed a line, so that the prompt has gone with it."""
        self._asking = False

    def finish(self) -> None:
        """Write what was held back, and leave the cursor at the beginning of a line."""
        mid_line = self._asking or not self._at_line_start
        rest = self._decoder.decode(b"", final=True) + ("\\r" if self._return_held else "")
        write_all(self._fd, rest.encode() + (b"\n" if mid_line or rest else b""))

    def _write(self, text: str, *, whole: bool) -> None:
        text = ("\r" if self._return_held else "") + text
        # The two may come in two pieces. A return alone would overwrite the line.
        self._return_held = text.endswith("\r") and not whole
        if self._return_held:
            text = text[:-1]
        text = text.removesuffix("\r") if whole else text
        rows = text.replace("\r\n", "\n").split("\n")
        shown = "\n".join("\t".join(escape_text(cell) for cell in row.split("\t")) for row in rows)
        shown += "\n" if whole else ""
        if not shown:
            return
        write_all(self._fd, ((self._erase if self._asking else "") + shown).encode("utf-8", "backslashreplace"))
        self._at_line_start = shown.endswith("\n")
        if self._asking:
            self._asking = False
            self.ask()


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``.

    Raises:
        BrokenPipeError: The reader is gone.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody who shares the descriptor made it non-blocking
            select.select([], [fd], [])
