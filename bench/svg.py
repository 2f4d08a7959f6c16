"""A bar chart as SVG text: one horizontal bar per contestant, with its spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .stats import Spread, number

LABEL_PX, BARS_PX, VALUE_PX = 300, 480, 90
ROW_PX, BAR_PX, TOP_PX, BOTTOM_PX = 24, 14, 64, 28
# Over this factor between the largest and the least, a linear scale shows the small ones as nothing.
LOGARITHMIC_OVER = 30
# Readable on white and on dark pages: the text takes the page's colour where it can.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 } .note, .tick { fill: #656d76; font-size: 11px }
.grid { stroke: #d0d7de; stroke-width: 1 } .spread { stroke: #24292f; stroke-width: 1.2 }
.ours { fill: #0969da } .theirs { fill: #a3abb5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note, .tick { fill: #9198a1 } .grid { stroke: #3d444d }
  .spread { stroke: #e6edf3 } .ours { fill: #4493f8 } .theirs { fill: #656c76 }
}
"""


@dataclass(frozen=True)
class Bar:
    """One contestant's figure."""

    label: str
    value: Spread
    ours: bool


class _Scale:
    """From a figure to pixels."""

    def __init__(self, bars: Sequence[Bar]) -> None:
        positive = [end for bar in bars for end in (bar.value.least, bar.value.most) if end > 0] or [1.0]
        self.most = max(positive)
        self.logarithmic = self.most / min(positive) > LOGARITHMIC_OVER
        self.least = 10 ** math.floor(math.log10(min(positive))) if self.logarithmic else 0.0

    def px(self, value: float) -> float:
        if self.logarithmic:
            value = max(value, self.least)
            return BARS_PX * math.log(value / self.least) / math.log(self.most / self.least)
        return BARS_PX * max(value, 0.0) / self.most

    def ticks(self) -> list[float]:
        if self.logarithmic:
            last = math.floor(math.log10(self.most))
            return [10.0**power for power in range(round(math.log10(self.least)), last + 1)]
        step: float = 10 ** math.floor(math.log10(self.most))
        if self.most / step < 4:
            step /= 2
        return [step * n for n in range(math.floor(self.most / step) + 1)]


def bar_chart(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """Draw at least one bar. The whiskers run from the least to the most of all rounds."""
    scale = _Scale(bars)
    height = TOP_PX + ROW_PX * len(bars) + BOTTOM_PX
    width = LABEL_PX + BARS_PX + VALUE_PX
    note = f"{unit}, less is better; median of the rounds, line from least to most"
    if scale.logarithmic:
        note += "; logarithmic"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="8" y="22">{escape(title)}</text>',
        f'<text class="note" x="8" y="42">{escape(note)}</text>',
    ]
    bottom = height - BOTTOM_PX
    for tick in scale.ticks():
        x = LABEL_PX + scale.px(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP_PX - 8}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:,g}</text>')
    for index, bar in enumerate(bars):
        parts += _bar(bar, TOP_PX + ROW_PX * index, scale)
    return "\n".join([*parts, "</svg>", ""])


def _bar(bar: Bar, top: int, scale: _Scale) -> list[str]:
    middle = top + BAR_PX / 2
    least, most = (LABEL_PX + scale.px(end) for end in (bar.value.least, bar.value.most))
    kind = "ours" if bar.ours else "theirs"
    return [
        f'<text x="{LABEL_PX - 8}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="{kind}" x="{LABEL_PX}" y="{top}" height="{BAR_PX}" rx="2" '
        f'width="{max(scale.px(bar.value.median), 1):.1f}"/>',
        f'<line class="spread" x1="{least:.1f}" y1="{middle}" x2="{most:.1f}" y2="{middle}"/>',
        f'<text x="{most + 6:.1f}" y="{middle + 4}">{number(bar.value.median)}</text>',
    ]
