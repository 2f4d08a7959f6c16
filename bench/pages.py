"""What the pages of the project take from the raw data: the table of costs, the figures to hold."""

# ruff: noqa: RUF001 -- the multiplication sign is meant

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from . import contestants, report
from .stats import Results, number

# Who stands in the table, where it was measured; in the order of the first column.
SHOWN = (
    "c-epoll-raw", "tokio", "go", "penstock-native", "penstock-native-connection", "penstock-native-async",
    "penstock-pure", "uvloop-protocol", "uvloop-streams", "asyncio-protocol", "asyncio-protocol-default-malloc",
    "asyncio-streams", "threads", "gevent", "twisted", "trio", "anyio",
)  # fmt: skip
COLUMNS = {
    "line-echo-1": "a line, 1 in flight, µs",
    "line-echo-32": "a line, 32 in flight, µs",
    "connect": "connect, a line, close, µs",
    "idle": "an idle connection, bytes",
}


def _cost(results: Mapping[str, Results], scenario: str, key: str) -> str:
    seen = results.get(scenario)
    return number(seen.values(key).median) if seen is not None and key in seen else "—"


def _name(key: str) -> str:
    who = contestants.BY_KEY[key]
    return f"**{who.title}**" if who.ours else who.title


def costs(results: Mapping[str, Results]) -> str:
    """Return the table of costs: medians, of those that were measured, cheapest first."""
    first = results[next(name for name in COLUMNS if name in results)]
    shown = [key for key in SHOWN if any(key in results[name] for name in COLUMNS if name in results)]
    shown.sort(key=lambda key: first.values(key).median if key in first else float("inf"))
    body = [[_name(key), *(_cost(results, scenario, key) for scenario in COLUMNS)] for key in shown]
    facts = first.saved["machine"]
    least = min(results[name].saved["rounds"] for name in COLUMNS if name in results)
    return (
        f"From `make bench` on {first.saved['date']}: {facts['cpus']} × {facts['cpu']}, Linux {facts['kernel']},\n"
        f"CPython {facts['python']}, server and load on a core each, at least {least} interleaved rounds, medians.\n\n"
        + report.table(["", *COLUMNS.values()], body)
    )


def held(results: Mapping[str, Results]) -> str:
    """Return the figures to hold, met and missed."""
    dates = sorted({seen.saved["date"] for seen in results.values()})
    return f"Measured on {' and '.join(dates)}: {report.count(results)}.\n\n{report.verdicts(results)}"


PAGES: dict[str, tuple[str, Callable[[Mapping[str, Results]], str]]] = {
    "docs/cost.md": ("costs", costs),
    "docs/design/figures.md": ("figures", held),
}


def renew(page: str, name: str, content: str) -> str:
    """Return the page with what stands between its two markers of that name made anew.

    Raises:
        ValueError: It has not one of each, in that order.
    """
    start, end = f"<!-- bench:{name}:begin -->", f"<!-- bench:{name}:end -->"
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no {start} … {end}")
    return f"{before}{start}\n{content}\n{end}{after}"


def update(folder: Path, root: Path) -> list[Path]:
    """Write every page under ``root`` whose part from the raw data in ``folder`` has changed; return those."""
    results = report.newest(folder)
    changed = []
    for name, (block, make) in PAGES.items():
        path = root / name
        before = path.read_text()
        after = renew(before, block, make(results))
        if after != before:
            path.write_text(after)
            changed.append(path)
    return changed
