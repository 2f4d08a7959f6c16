"""Raw data into ``latest.md`` and one SVG per scenario. Nothing is measured here: it can be made again at any time."""

# ruff: noqa: RUF001 -- the multiplication sign is meant

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import contestants, rows, scenarios, svg
from .stats import Results, Spread, number

Table = list[list[str]]
C_EPOLL = ("c-epoll-raw", "c-epoll")


def newest(folder: Path) -> dict[str, Results]:
    """Read the newest raw data of every scenario, in the order of the scenarios."""
    found = {}
    for name in scenarios.BY_NAME:
        files = sorted(folder.glob(f"????-??-??-{name}.json"))
        if files:
            found[name] = Results(json.loads(files[-1].read_text()))
    return found


def table(head: list[str], body: Table, *, words: int = 1) -> str:
    """Return a table whose first ``words`` columns are text, the others figures."""
    align = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, align, *body])


def spread(value: Spread | None) -> str:
    if value is None:
        return "—"
    return f"{number(value.median)} ({number(value.least)} to {number(value.most)})"


def title(key: str) -> str:
    return contestants.BY_KEY[key].title if key in contestants.BY_KEY else key


def _cell(value: float | None, scale: float = 1.0) -> str:
    return "—" if value is None else number(value * scale)


def _floor(limit: rows.Limit, results: Mapping[str, Results]) -> str:
    """Return what the C echo itself comes to by the same yardstick: what no server with a handler can be under."""
    seen = results.get(limit.scenario)
    if seen is None or limit.yardstick is None or limit.yardstick in C_EPOLL:
        return "—"
    ratios = [seen.ratio(key, limit.yardstick) for key in C_EPOLL if key in seen]
    return spread(ratios[0]) if ratios else "—"


def verdicts(results: Mapping[str, Results]) -> str:
    """Return the table of the figures to hold."""
    body = []
    for row in rows.ROWS:
        for limit in row.limits:
            verdict = rows.judge(limit, results)
            text = f"**{verdict.text}**" if verdict.judgement is rows.Judgement.MISSED else verdict.text
            figures = [number(limit.at_most), spread(verdict.found), _floor(limit, results)]
            body.append([row.work if limit is row.limits[0] else "", _claim(limit), *figures, text])
    return table(["work", "figure", "at most", "median (least to most)", "C epoll itself", ""], body, words=2)


def _claim(limit: rows.Limit) -> str:
    scenario = scenarios.BY_NAME[limit.scenario]
    if limit.yardstick is None:
        against = f", {scenario.unit}"
    elif (limit.contestant, limit.yardstick) in scenario.pairs:
        against = " × the same without"
    else:
        against = f" × {title(limit.yardstick)}"
    return f"`{limit.scenario}`: {title(limit.contestant)}{against}"


def count(results: Mapping[str, Results]) -> str:
    """Return how many limits are met, missed, open and unmeasured, in words."""
    seen = Counter(rows.judge(limit, results).judgement for row in rows.ROWS for limit in row.limits)
    return ", ".join(f"{seen[judgement]} {judgement.value}" for judgement in rows.Judgement if seen[judgement])


def _figures(results: Results, scenario: scenarios.Scenario) -> str:
    yardsticks = [key for key in scenario.yardsticks if key in results]
    head = ["", f"{scenario.unit}, median (least to most)", *(f"× {title(key)}" for key in yardsticks)]
    pairs = dict(scenario.pairs)
    if pairs:
        head.append("× the same without limits")
    timed = any(results.median(key, "messages_per_s") for key in results.contestants)
    if timed:
        head += ["per second", "p50 µs", "p99 µs", "p99.9 µs", "load's CPU share"]
    if scenario.kind == "fairness":
        head += ["p99 µs without the firehose", "firehose messages/s"]
    body = []
    for key in sorted(results.contestants, key=lambda key: results.values(key).median):
        line = [title(key), spread(results.values(key))]
        line += ["1" if key == other else spread(results.ratio(key, other)) for other in yardsticks]
        if pairs:
            line.append(spread(results.ratio(key, pairs[key])) if key in pairs else "1")
        if timed:
            line.append(_cell(results.median(key, "messages_per_s")))
            line += [_cell(results.median(key, "latency_ns", p), 1e-3) for p in ("p50", "p99", "p99.9")]
            line.append(_load_share(results, key))
        if scenario.kind == "fairness":
            line.append(_cell(results.median(key, "alone", "latency_ns", "p99"), 1e-3))
            line.append(_cell(results.median(key, "firehose_messages_per_s")))
        body.append(line)
    return table(head, body)


def _load_share(results: Results, key: str) -> str:
    share = results.median(key, "load_cpu_share")
    if share is None:
        return "—"
    return f"{share:.2f}" + (" (bound by the load)" if results.bound_by_load(key) else "")


def _left_out(results: Results) -> Iterable[str]:
    for group, word in (("failed", "**Failed**"), ("skipped", "Not measured")):
        by_reason: dict[str, list[str]] = {}
        for key, reason in results.saved[group].items():
            by_reason.setdefault(reason, []).append(title(key))
        for reason, titles in by_reason.items():
            yield f"- {word}: {', '.join(titles)}: {reason}."


def _machine(facts: Mapping[str, Any]) -> str:
    lines = [
        f"- {facts['cpus']} × {facts['cpu']}, {facts['memory_gib']} GiB, Linux {facts['kernel']}, {facts['libc']}",
        f"- Penstock under {facts['implementation']} {facts['python']}; the Python competitors under "
        f"{facts['competitors']}" + (f"; {facts['others']}" if facts.get("others") else ""),
        f"- server on core {facts['cores']['server']}, load on core {facts['cores']['load']}"
        + (" (**which share hardware: the two disturb each other**)" if facts["cores_share_hardware"] else ""),
        f"- RLIMIT_NOFILE raised to {facts['descriptor_limit']:,} for server and load each",
    ]
    return "\n".join(lines)


def _chart(results: Results, scenario: scenarios.Scenario) -> str:
    ordered = sorted(results.contestants, key=lambda key: results.values(key).median)
    bars = [svg.Bar(title(key), results.values(key), _is_ours(key)) for key in ordered]
    return svg.bar_chart(scenario.title, scenario.unit, bars)


def _is_ours(key: str) -> bool:
    return key in contestants.BY_KEY and contestants.BY_KEY[key].ours


def write(folder: Path) -> Path:
    """Write the tables and plots of the newest raw data in ``folder``; return the path of the tables."""
    results = newest(folder)
    parts = [
        "# Results",
        "Made by `make bench`; how it measures and how to read it: [the bench](../README.md). Where what is "
        "missed goes, and what was tried: [figures](../../docs/design/figures.md).",
        "## The figures to hold",
        f"{count(results).capitalize()}. A figure is met or missed where 19 times of 20 the median of any number of "
        "rounds would be on the same side of the limit (with fewer than 6 rounds: where all of them are), and open "
        "where that cannot be told. *C epoll itself* is the limit by the same yardstick: nobody can be under it.",
        verdicts(results),
    ]
    machines: dict[str, list[str]] = {}
    for name, seen in results.items():
        scenario = scenarios.BY_NAME[name]
        machines.setdefault(_machine(seen.saved["machine"]), []).append(name)
        parts += [f"## {scenario.title}", f"`{name}`, {seen.saved['date']}; rounds: {seen.saved['rounds']}."]
        if seen.contestants:
            chart = folder / f"{name}.svg"
            chart.write_text(_chart(seen, scenario))
            parts += [f"![{scenario.title}]({chart.name})", _figures(seen, scenario)]
        left_out = "\n".join(_left_out(seen))
        if left_out:
            parts.append(left_out)
    parts.append("## Machine")
    for machine, names in machines.items():
        parts += [machine if len(machines) == 1 else f"{', '.join(names)}:\n\n{machine}"]
    path = folder / "latest.md"
    path.write_text("\n\n".join(parts) + "\n")
    return path
