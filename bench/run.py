"""One command, one run: every scenario, every contestant that can run here, rounds interleaved. See README.md."""

from __future__ import annotations

import argparse
import datetime as dt
import fnmatch
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import build, contestants, machine, pages, report, scenarios
from .build import UnavailableError
from .contestants import Interpreters
from .course import ROOT, Course, say
from .scenarios import Scenario

ROUNDS = 5
RESULTS = ROOT / "bench/results"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything once at tiny size: shows that it runs")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="scenarios (glob; repeatable)")
    parser.add_argument("--contestant", action="append", metavar="PATTERN", help="contestants (glob; repeatable)")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument("--seconds", type=float, help="length of one measured window, where a window is timed")
    parser.add_argument("--minutes", type=float, help="begin no further round that would not end by then; one is made")
    parser.add_argument("--resume", action="store_true", help="add the rounds that today's raw data does not have yet")
    parser.add_argument("--python", help="interpreter of the Python competitors (default: .venv-bench, else this one)")
    parser.add_argument("--results", type=Path, help="folder for raw data and report (default: bench/results; "
                        "with --quick or --contestant a temporary one)")  # fmt: skip
    parser.add_argument("--report", action="store_true", help="measure nothing, write the report from the raw data")
    parser.add_argument("--list", action="store_true", help="show scenarios and contestants")
    options = parser.parse_args(argv)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds is at least 1")
    if options.seconds is not None and not 0 < options.seconds <= 600:
        parser.error("--seconds is over 0 and at most 600")
    if options.minutes is not None and not options.minutes > 0:
        parser.error("--minutes is over 0")
    return options


def _matches(name: str, patterns: Sequence[str] | None) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _list(chosen: Sequence[Scenario], patterns: Sequence[str] | None) -> None:
    for scenario in chosen:
        print(f"{scenario.name}: {scenario.title}")
        for key in scenario.contestants:
            if _matches(key, patterns):
                print(f"    {key}: {contestants.BY_KEY[key].title}")


def _describe(interpreters: Interpreters, cores: machine.Cores, descriptors: int) -> dict[str, object]:
    installed = contestants.versions(interpreters.competitors)
    names = ("uvloop", "gevent", "twisted", "trio", "anyio")
    shown = [f"Python {installed['python']}", *(f"{name} {installed[name]}" for name in names if name in installed)]
    return {**machine.facts(cores, descriptors), "competitors": ", ".join(shown), "others": build.versions()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench. Returns 0, or 1 if a contestant misbehaved: then its figure is missing and the report says why."""
    options = _parse(argv)
    chosen = [scenario for scenario in scenarios.SCENARIOS if _matches(scenario.name, options.only)]
    if not chosen:
        say(f"no scenario matches {', '.join(options.only)}; there are: {', '.join(scenarios.BY_NAME)}")
        return 2
    if options.list:
        _list(chosen, options.contestant)
        return 0
    folder = options.results or RESULTS
    if not options.results and not options.report and (options.quick or options.contestant):
        # Of all contestants, at full size, or not into the results that are kept.
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        failures = 0 if options.report else _measure_all(options, chosen, folder)
    except UnavailableError as error:  # the load generator cannot be built: nothing can be measured
        say(str(error))
        return 1
    say(f"report: {report.write(folder)}")
    if folder == RESULTS:
        for page in pages.update(RESULTS, ROOT):
            say(f"updated: {page.relative_to(ROOT)}")
    return 1 if failures else 0


def _measure_all(options: argparse.Namespace, chosen: Sequence[Scenario], folder: Path) -> int:
    """Measure all scenarios once, then all again: a run that is cut short has fewer rounds of each, not fewer rows.

    Returns:
        How many contestants misbehaved.
    """
    until = time.monotonic() + options.minutes * 60 if options.minutes else math.inf
    interpreters = Interpreters(competitors=options.python) if options.python else Interpreters()
    cores = machine.choose_cores()
    described = _describe(interpreters, cores, machine.raise_descriptor_limit())
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    date = dt.datetime.now(dt.UTC).date().isoformat()
    courses = [_course(scenario, options) for scenario in chosen]
    if options.resume:
        for course in courses:
            course.resume(folder, date)
    build.load()
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores.load})
    try:
        for turn in range(rounds):
            for course in courses:
                if course.rounds > turn or turn >= course.work.rounds_most:
                    continue
                if turn > 0 and time.monotonic() + course.took_s > until:
                    say(f"{course.work.name}: no time for another round")
                    continue
                say(f"{course.work.name}: {course.work.title}")
                course.run_round(interpreters, cores.server)
                course.save(folder, date, described)
    finally:
        os.sched_setaffinity(0, allowed)
    return sum(len(course.failed) for course in courses)


def _course(scenario: Scenario, options: argparse.Namespace) -> Course:
    work = scenario.tiny() if options.quick else scenario
    if options.seconds and work.seconds:
        # The windows of a pair are short on purpose, and many.
        work = replace(work, seconds=min(options.seconds, work.seconds) if work.pairs else options.seconds)
    return Course(work, [key for key in work.contestants if _matches(key, options.contestant)])


if __name__ == "__main__":
    sys.exit(main())
