"""The report of ``penstock bench`` as one file of HTML that needs no other: data, and the library that draws the plots.

The library is uPlot (MIT), as it is published, with its licence beside it and in every page.
"""

import json
import time
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import islice
from math import floor, log10
from typing import Any, Final

from ...load.histogram import Histogram, percentile_of
from ...load.load import Load
from ...load.measured import Measured
from .assertions import Assertion
from .report import bottleneck, describe, generator, latency_of, lines_of, time_text

# Bars of the histogram for each power of ten.
_BARS_PER_DECADE: Final = 16
# Points of a percentile curve that can be told apart on a screen, for each nine.
_POINTS_PER_NINE: Final = 80
_CARDS: Final = ("p50", "p99", "p99.9", "max")

Points = Sequence[tuple[float, float]]


def page(
    load: Load, measured: Measured, assertions: Sequence[Assertion] = (), command_line: str = "", now_s: float = 0.0
) -> str:
    """Write the whole page.

    Args:
        load: What was run.
        measured: What was seen.
        assertions: What was asserted of it.
        command_line: How it was run.
        now_s: When it ended, in seconds since the epoch.
    """
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>penstock bench {escape(str(load.address))}</title>\n"
        f"<!-- The plots are drawn by uPlot, https://github.com/leeoniya/uPlot\n\n{_asset('uPlot.LICENSE')}-->\n"
        f"<style>{_asset('uPlot.min.css')}{_asset('page.css')}</style></head><body>\n"
    )
    body = "\n".join(
        [
            f"<h1>{escape(str(load.address))}</h1>",
            f"<p>{escape(describe(load))}</p>",
            f'<p class="soft"><time datetime="{_date(now_s, "T")}">{_date(now_s, " ")}</time> · '
            f"{escape(generator(measured))}</p>",
            f'<code class="line">{escape(command_line)}</code>',
            _warnings(load, measured),
            _cards(measured),
            _asserted(assertions, measured),
            _errors(measured),
            _plots(load, measured),
            "<details><summary>The report as text</summary>"
            f"<pre>{escape(chr(10).join(lines_of(load, measured, len(load.frame))))}</pre></details>",
        ]
    )
    # "</script>" in an address would end the element; in JSON the slash may be escaped.
    data = json.dumps(plot_data(load, measured)).replace("</", "<\\/").replace("<!--", "<\\u0021--")
    script = f"<script>{_asset('uPlot.iife.min.js')}</script>\n<script>{_asset('page.js')}</script>"
    data_element = f'<script type="application/json" id="data">{data}</script>'
    return f"{head}{body}\n{data_element}\n{script if measured.latency.count else ''}</body></html>\n"


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _date(now_s: float, separator: str) -> str:
    return time.strftime(f"%Y-%m-%d{separator}%H:%M:%S%z", time.localtime(now_s))


def _warnings(load: Load, measured: Measured) -> str:
    said = ["Interrupted: this is what was seen until then."] if measured.interrupted else []
    if (warning := bottleneck(load, measured)) is not None:
        said.append(warning)
    return "".join(f'<p class="bad">{escape(text)}</p>' for text in said)


def _cards(measured: Measured) -> str:
    errors = measured.errors.total()
    cards = [(f"{measured.rate:,.0f}", "replies/s", ""), (f"{measured.latency.count:,}", "replies", "")]
    cards.append((f"{errors:,}", "errors", "bad" if errors else "good"))
    cards += [(time_text(latency_of(name, measured.told)), name, "") for name in _CARDS if measured.latency.count]
    shown = (f'<div class="card"><b class="{kind}">{value}</b><span>{name}</span></div>' for value, name, kind in cards)
    return f'<div class="cards">{"".join(shown)}</div>'


def _asserted(assertions: Sequence[Assertion], measured: Measured) -> str:
    if not assertions:
        return ""
    rows = []
    for each in assertions:
        kind, mark = ("good", "\N{CHECK MARK}") if each.holds(measured) else ("bad", "\N{BALLOT X}")
        rows.append(f'<li><span class="{kind}">{mark}</span> {escape(each.verdict(measured))}</li>')
    return f'<h2>Assertions</h2><ul class="asserts">{"".join(rows)}</ul>'


def _errors(measured: Measured) -> str:
    if not measured.errors:
        return ""
    rows = (
        f'<tr><td class="number">{count:,}</td><td>{escape(kind)}</td></tr>'
        for kind, count in measured.errors.most_common()
    )
    return f"<h2>Errors</h2><table>{''.join(rows)}</table>"


def _plots(load: Load, measured: Measured) -> str:
    if not measured.latency.count:
        return "<p>nothing was measured</p>"
    since = "from when each request was due" if load.pace is not None else "from when each request was sent"
    plots = {
        "rate": "Replies per second",
        "latency": f"Latency over time, {since}",
        "histogram": f"Latency histogram, {since}",
        "percentiles": "Latency by percentile, in %",
    }
    scriptless = "<noscript><p>The plots need JavaScript; the text below says the same.</p></noscript>"
    return scriptless + "".join(
        f'<h2>{title}</h2><div class="plot" id="{name}"></div>' for name, title in plots.items()
    )


# -- data --------------------------------------------------------------------------------------------------------------


def plot_data(load: Load, measured: Measured) -> dict[str, Any]:
    """Return what the plots are drawn from."""
    intervals = measured.intervals
    curves = [("from due" if load.pace is not None else "from sent", measured.told)]
    if load.pace is not None:
        curves.append(("from sent", measured.latency))
    return {
        "has_errors": any(each.errors for each in intervals),
        "intervals": {
            "ended_s": [round(each.ended_s, 6) for each in intervals],
            "replies_per_s": [each.replies / (each.seconds or 1.0) for each in intervals],
            "errors_per_s": [each.errors / (each.seconds or 1.0) for each in intervals],
            "p50_s": [percentile_of(each.times, 50) for each in intervals],
            "p99_s": [percentile_of(each.times, 99) for each in intervals],
            "max_s": [percentile_of(each.times, 100) for each in intervals],
        },
        "bins": bins(measured.told),
        "curves": [
            {"label": label, "nines": [x for x, _ in points], "seconds": [y for _, y in points]}
            for label, histogram in curves
            for points in [thinned(percentile_curve(histogram))]
        ],
    }


def bins(histogram: Histogram) -> dict[str, list[Any]]:
    """Count times in bars that are equally wide on a logarithmic axis, without a gap from the first to the last.

    Returns:
        The middle of each bar, in seconds, and its count.
    """
    counts: dict[int, int] = {}
    for seconds, count in histogram.buckets():
        index = floor(log10(max(seconds, 1e-9)) * _BARS_PER_DECADE)
        counts[index] = counts.get(index, 0) + count
    found = range(min(counts, default=0), max(counts, default=-1) + 1)
    middles = [10 ** ((index + 0.5) / _BARS_PER_DECADE) for index in found]
    return {"at_s": middles, "count": [counts.get(index, 0) for index in found]}


def percentile_curve(histogram: Histogram) -> Points:
    """Return the points (how many nines, seconds), up to the last percentile that one single time decides."""
    points = [(0.0, seconds) for seconds, _ in islice(histogram.buckets(), 1)]
    seen = 0
    for seconds, count in histogram.buckets():
        seen += count
        left = max(1, histogram.count - seen) / histogram.count
        points.append((-log10(left), min(seconds, histogram.max_s)))
    return points


def thinned(points: Points) -> Points:
    """Leave out points that stand where the one before them does, as far as an eye can tell; the last one stays."""
    kept: list[tuple[float, float]] = []
    for point in points:
        place = floor(point[0] * _POINTS_PER_NINE)
        if kept and floor(kept[-1][0] * _POINTS_PER_NINE) == place:
            kept[-1] = (kept[-1][0], point[1])  # the curve rises: the last of a place is its highest
        else:
            kept.append(point)
    return kept
