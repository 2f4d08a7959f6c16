"""How a load goes, on standard error: a live view, one line that is written anew, or a line now and then for a pipe."""

import os
import sys
from importlib.util import find_spec
from typing import Final, Protocol

import click

from ...load.load import Load
from ...load.measured import Glimpse
from .report import time_text

# Lines for a pipe come no more often, and no more than ten of them in a run of a known length.
QUIET_S: Final = 2.0
_MOST_LINES: Final = 10


class Progress(Protocol):
    """Shows how a load goes."""

    def show(self, seen: Glimpse) -> None:
        """Show what was seen by now."""

    def end(self) -> None:
        """Take it away where it was not to stay."""


def make_progress(load: Load) -> Progress:
    """Make what suits standard error: rich's live view where that is installed, on a terminal that can."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if not is_terminal:
        return Lines(load.duration_s)
    if find_spec("rich") is not None:
        from .live import LiveView

        return LiveView(load)
    return OneLine(load.duration_s)


def summary(seen: Glimpse, duration_s: float | None) -> str:
    """Say in one line how it goes."""
    of = "" if duration_s is None else f" of {duration_s:g}"
    return (
        f"{seen.seconds:5.1f}{of} s  {seen.replies / (seen.seconds or 1.0):,.0f} replies/s  "
        f"mean {time_text(seen.waited_s / max(1, seen.replies))}  {seen.errors:,} errors"
    )


class OneLine:
    """One line of a terminal.

    Args:
        duration_s: How long it will take; None when that is not known.
    """

    def __init__(self, duration_s: float | None) -> None:
        self._duration_s = duration_s
        self._any = False

    def show(self, seen: Glimpse) -> None:
        """Write it anew."""
        self._any = True
        text = summary(seen, self._duration_s)
        # A line that is wrapped cannot be written anew. A terminal that does not know its width says 0.
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        click.echo(f"\r{text[: width - 1]}\x1b[K", nl=False, err=True)

    def end(self) -> None:
        """Take it away."""
        if self._any:
            click.echo("\r\x1b[K", nl=False, err=True)


class Lines:
    """Lines for a file or a pipe, which stay: a log of CI shows that something goes on.

    Args:
        duration_s: How long it will take; None when that is not known.
    """

    def __init__(self, duration_s: float | None) -> None:
        self._duration_s = duration_s
        self._every_s = QUIET_S if duration_s is None else max(QUIET_S, duration_s / _MOST_LINES)
        self._next_s = self._every_s

    def show(self, seen: Glimpse) -> None:
        """Write a line, if it is time for one."""
        if seen.seconds >= self._next_s:
            self._next_s = seen.seconds + self._every_s
            click.echo(summary(seen, self._duration_s).strip(), err=True)

    def end(self) -> None:
        """Leave what was written."""
