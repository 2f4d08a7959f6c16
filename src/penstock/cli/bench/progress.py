"""The line of ``penstock bench`` that says how it goes."""

import os
import sys

import click

from ...load.measured import Glimpse
from .report import time_text


class Progress:
    """One line on standard error, where that is a terminal, that says how it goes.

    Args:
        duration_s: How long it will take; None when that is not known.
    """

    def __init__(self, duration_s: float | None) -> None:
        self._of = "" if duration_s is None else f" of {duration_s:g}"
        self._shown = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._any = False

    def show(self, seen: Glimpse) -> None:
        """Write it anew."""
        if not self._shown:
            return
        self._any = True
        text = (
            f"{seen.seconds:5.1f}{self._of} s  {seen.replies / seen.seconds:,.0f} replies/s  "
            f"mean {time_text(seen.waited_s / max(1, seen.replies))}  {seen.errors:,} errors"
        )
        # A line that is wrapped cannot be written anew. A terminal that does not know its width says 0.
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        click.echo(f"\r{text[: width - 1]}\x1b[K", nl=False, err=True)

    def end(self) -> None:
        """Take it away."""
        if self._any:
            click.echo("\r\x1b[K", nl=False, err=True)
