"""One command, one run: every scenario, every contestant that can run here, rounds interleaved. See README.md."""

from __future__ import annotations

import argparse
import datetime as dt
import fnmatch
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from . import build, contestants, machine, report, scenarios
from .build import UnavailableError
from .contestants import Interpreters
from .measure import measure
from .process import FailedError
from .scenarios import Scenario

ROUNDS = 5
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench/results"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything once at tiny size: shows that it runs")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="scenarios (glob; repeatable)")
    parser.add_argument("--contestant", action="append", metavar="PATTERN", help="contestants (glob; repeatable)")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument("--seconds", type=float, help="length of one measured window, where a window is timed")
    parser.add_argument("--python", help="interpreter of the Python competitors (default: .venv-bench, else this one)")
    parser.add_argument("--results", type=Path, help="folder for raw data and report (default: bench/results)")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the report from the raw data")
    parser.add_argument("--list", action="store_true", help="show scenarios and contestants")
    options = parser.parse_args(argv)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds is at least 1")
    if options.seconds is not None and not 0 < options.seconds <= 600:
        parser.error("--seconds is over 0 and at most 600")
    return options


def _matches(name: str, patterns: Sequence[str] | None) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _list(chosen: Sequence[Scenario], patterns: Sequence[str] | None) -> None:
    for scenario in chosen:
        print(f"{scenario.name}: {scenario.title}")
        for key in scenario.contestants:
            if _matches(key, patterns):
                print(f"    {key}: {contestants.BY_KEY[key].title}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    """Return its text without the paths of this machine: it goes into a report that others read."""
    return str(error).replace(f"{ROOT}/", "").replace(f"{Path.home()}/", "~/")


def run_scenario(
    scenario: Scenario, keys: Sequence[str], rounds: int, interpreters: Interpreters, core: int
) -> dict[str, Any]:
    """Measure every contestant once, then every one again, ``rounds`` times.

    Returns:
        ``records``, and the reasons of those that were ``skipped`` (cannot run here) or ``failed`` (misbehaved).
    """
    records: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    for turn in range(rounds):
        for key in keys:
            if key in skipped or key in failed:
                continue
            try:
                seen = measure(scenario, contestants.BY_KEY[key], interpreters, core)
            except UnavailableError as error:
                skipped[key] = _reason(error)
                _say(f"  {turn + 1}/{rounds} {key:32} skipped: {skipped[key]}")
            except FailedError as error:
                failed[key] = _reason(error)
                _say(f"  {turn + 1}/{rounds} {key:32} FAILED: {failed[key]}")
            else:
                records.append({"contestant": key, "round": turn, **seen})
                _say(f"  {turn + 1}/{rounds} {key:32} {seen['value']:12.3f} {scenario.unit}")
    return {"records": records, "skipped": skipped, "failed": failed}


def _describe(interpreters: Interpreters, cores: machine.Cores, descriptors: int) -> dict[str, object]:
    installed = contestants.versions(interpreters.competitors)
    names = ("uvloop", "gevent", "twisted", "trio", "anyio")
    shown = [f"Python {installed['python']}", *(f"{name} {installed[name]}" for name in names if name in installed)]
    return {**machine.facts(cores, descriptors), "competitors": ", ".join(shown)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench. Returns 0, or 1 if a contestant misbehaved: then its figure is missing and the report says why."""
    options = _parse(argv)
    chosen = [scenario for scenario in scenarios.SCENARIOS if _matches(scenario.name, options.only)]
    if not chosen:
        _say(f"no scenario matches {', '.join(options.only)}; there are: {', '.join(scenarios.BY_NAME)}")
        return 2
    if options.list:
        _list(chosen, options.contestant)
        return 0
    folder = options.results or (Path(tempfile.mkdtemp(prefix="bench-quick-")) if options.quick else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        failures = 0 if options.report else _measure_all(options, chosen, folder)
    except UnavailableError as error:  # the load generator cannot be built: nothing can be measured
        _say(str(error))
        return 1
    _say(f"report: {report.write(folder)}")
    return 1 if failures else 0


def _measure_all(options: argparse.Namespace, chosen: Sequence[Scenario], folder: Path) -> int:
    interpreters = Interpreters(competitors=options.python) if options.python else Interpreters()
    descriptors = machine.raise_descriptor_limit()
    cores = machine.choose_cores()
    described = _describe(interpreters, cores, descriptors)
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    date = dt.datetime.now(dt.UTC).date().isoformat()
    build.load()
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores.load})
    failures = 0
    try:
        for scenario in chosen:
            work = scenario.tiny() if options.quick else scenario
            if options.seconds and work.seconds:
                work = replace(work, seconds=options.seconds)
            _say(f"{work.name}: {work.title}")
            keys = [key for key in work.contestants if _matches(key, options.contestant)]
            seen = run_scenario(work, keys, rounds, interpreters, cores.server)
            failures += len(seen["failed"])
            saved = {"scenario": asdict(work), "date": date, "rounds": rounds, "machine": described, **seen}
            (folder / f"{date}-{work.name}.json").write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n")
    finally:
        os.sched_setaffinity(0, allowed)
    return failures


if __name__ == "__main__":
    sys.exit(main())
