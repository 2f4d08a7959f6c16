"""The live view of ``penstock bench``, with rich: how far it is, how fast it goes, and how that has changed."""

from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...load.histogram import percentile_of
from ...load.load import Load
from ...load.measured import Glimpse
from .report import describe, time_text

_BARS: Final = " ▁▂▃▄▅▆▇█"
# Intervals that are remembered: more than a terminal is wide.
_KEPT: Final = 500


class LiveView:
    """A few lines of a terminal that are drawn anew after each interval, and taken away at the end.

    Args:
        load: What is run.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._rates: list[float] = []
        self._p99s: list[float] = []
        self._before = Glimpse(0.0, 0, 0.0, 0)

    def show(self, seen: Glimpse) -> None:
        """Draw it anew."""
        before, self._before = self._before, seen
        rate = (seen.replies - before.replies) / max(1e-9, seen.seconds - before.seconds)
        self._rates = [*self._rates, rate][-_KEPT:]
        self._p99s = [*self._p99s, percentile_of(seen.times, 99)][-_KEPT:]
        self._live.start()
        self._live.update(self._drawn(seen), refresh=True)

    def end(self) -> None:
        """Take it away."""
        self._live.stop()

    def _drawn(self, seen: Glimpse) -> Group:
        width = max(10, self._console.width - 42)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(justify="right", min_width=14)
        table.add_column(no_wrap=True)
        table.add_row("replies/s", f"{self._rates[-1]:,.0f}", Text(sparkline(self._rates, width), style="cyan"))
        table.add_row("p99", time_text(self._p99s[-1]), Text(sparkline(self._p99s, width), style="magenta"))
        table.add_row("p50", time_text(percentile_of(seen.times, 50)))
        table.add_row("replies", f"{seen.replies:,}")
        table.add_row("errors", Text(f"{seen.errors:,}", style="bold red" if seen.errors else "green"))
        return Group(Text(describe(self._load), overflow="ellipsis", no_wrap=True), self._how_far(seen), table)

    def _how_far(self, seen: Glimpse) -> Table:
        load = self._load
        if load.duration_s is not None:
            done, total, text = seen.seconds, load.duration_s, f"{seen.seconds:.1f} of {load.duration_s:g} s"
        else:
            done, total = float(seen.replies), float(load.count or 1)
            text = f"{seen.seconds:.1f} s"
        row = Table.grid(padding=(0, 2))
        row.add_row(text, ProgressBar(total=total, completed=min(done, total), width=max(10, self._console.width - 30)))
        return row


def sparkline(values: list[float], width: int) -> str:
    """Draw the last values as bars, as high as they are beside the highest."""
    shown = values[-width:]
    most = max(shown, default=0.0)
    return "".join(_BARS[round(value / most * (len(_BARS) - 1))] if most else _BARS[0] for value in shown)
