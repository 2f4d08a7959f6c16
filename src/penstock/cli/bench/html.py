"""The report of ``penstock bench`` as one file of HTML that needs no other: plots are inline SVG."""

from collections.abc import Callable, Sequence
from html import escape
from itertools import islice
from math import log10
from typing import Final

from ...load.histogram import Histogram
from ...load.load import Load
from ...load.measured import Measured
from .report import describe, lines_of, time_text

WIDTH: Final = 720
HEIGHT: Final = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 20, 20, 40

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --page: #fff; --line: #0a66c2; --second: #b35900; --grid: #8884; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --page: #15181c; --line: #6cb6ff; --second: #ffb077; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 760px;
  margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; } svg { width: 100%; height: auto; } text { fill: var(--ink); font-size: 12px; }
polyline { fill: none; stroke: var(--line); stroke-width: 2; } polyline.second { stroke: var(--second); }
line { stroke: var(--grid); }
"""

Points = Sequence[tuple[float, float]]


def page(load: Load, measured: Measured, frame_bytes: int) -> str:
    """Write the whole page."""
    curves = [percentile_curve(measured.told)]
    legend = "Latency by percentile"
    if load.pace is not None:
        curves.append(percentile_curve(measured.latency))
        legend += ": from when each request was due, and, the second line, from when it was sent"
    ticks = [(0.0, "0"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99"), (5.0, "99.999"), (6.0, "99.9999")]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>penstock bench {escape(str(load.address))}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>penstock bench</h1><p>{escape(describe(load))}</p>\n"
        f"<pre>{escape(chr(10).join(list(lines_of(load, measured, frame_bytes))[1:]))}</pre>\n"
        f"<h2>Replies per second over time</h2>{plot([rate_steps(measured)], _number, 's')}\n"
        f"<h2>{legend}</h2>{plot(curves, time_text, '%', ticks)}\n"
        "</body></html>\n"
    )


def rate_steps(measured: Measured) -> Points:
    """Return the points (seconds, replies a second): a step for each interval, so that a single one is seen too."""
    points = []
    for each in measured.intervals:
        rate = each.replies / (each.seconds or 1.0)
        points += [(max(0.0, each.ended_s - each.seconds), rate), (each.ended_s, rate)]
    return points


def percentile_curve(histogram: Histogram) -> Points:
    """Return the points (how many nines, seconds), up to the last percentile that one single time decides."""
    points = [(0.0, seconds) for seconds, _ in islice(histogram.buckets(), 1)]
    seen = 0
    for seconds, count in histogram.buckets():
        seen += count
        left = max(1, histogram.count - seen) / histogram.count
        points.append((-log10(left), min(seconds, histogram.max_s)))
    return points


def plot(
    curves: Sequence[Points], label: Callable[[float], str], unit: str, ticks: Sequence[tuple[float, str]] | None = None
) -> str:
    """Draw curves over one another, from zero upwards.

    Args:
        curves: The points of each, from left to right.
        label: Writes a value of the vertical axis.
        unit: Of the horizontal axis.
        ticks: Of the horizontal axis; None for its two ends.
    """
    points = [point for curve in curves for point in curve]
    if not points:
        return "<p>nothing was measured</p>"
    most_x = max(x for x, _ in points) or 1.0
    most_y = max(y for _, y in points) or 1.0
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x / most_x * width, _TOP + height - y / most_y * height

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = at(0, most_y * share)
        parts.append(f'<line x1="{x}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(label(most_y * share))}</text>')
    for value, text in ticks or [(0.0, "0"), (most_x, f"{most_x:.1f}")]:
        if value <= most_x:
            x, y = at(value, 0)
            parts.append(f'<text x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">{escape(f"{text} {unit}")}</text>')
    for number, curve in enumerate(curves):
        places = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in curve)
        parts.append(f'<polyline{" class=second" if number else ""} points="{places}"/>')
    return "".join([*parts, "</svg>"])


def _number(value: float) -> str:
    return f"{value:,.0f}"
