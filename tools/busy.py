"""Tests beside a busy machine: processes that spin, and tests that run again and again meanwhile.

What fails there and passes alone waits for a time instead of a fact. Every run that fails is shown; the last line says
how often each test failed. Spinners end by themselves, whatever becomes of this program.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Those that failed beside a busy neighbour once, each with all its parameters.
SUSPECTS = (
    "tests/attacks/test_several_addresses.py::test_a_rate_goes_round_the_addresses",
    "tests/cli/bench/test_progress.py::test_one_line_is_written_again_and_again",
    "tests/cli/bench/test_progress.py::test_what_is_wider_than_the_terminal_is_cut",
    "tests/client/test_persistent.py::test_what_was_not_sent_waits_and_what_was_sent_is_lost_or_asked_again",
    "tests/conformance/test_law_05_half_close.py::test_eof_while_output_is_stalled",
)
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
SPIN = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"


@contextlib.contextmanager
def spinners(count: int, seconds: float) -> Iterator[None]:
    """Keep as many processes busy until the block ends, for ``seconds`` at most."""
    running = [subprocess.Popen([sys.executable, "-S", "-c", SPIN, str(seconds)]) for _ in range(count)]  # noqa: S603
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def run_once(tests: Sequence[str], workers: int) -> tuple[int, str]:
    """Run the tests; return pytest's exit status and what it said."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not full", "-n", str(workers), *tests]
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    return done.returncode, done.stdout


def main() -> int:
    """Run, and return 1 if a test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", help="what pytest takes; without any, those that failed so once")
    parser.add_argument("--times", type=int, default=50, help="how often they run (default: %(default)s)")
    parser.add_argument("--spinners", type=int, default=os.cpu_count() or 2, help="default: one for each core")
    parser.add_argument("--workers", type=int, default=0, help="pytest's processes (default: none beside it)")
    parser.add_argument("--seconds", type=float, default=1800.0, help="no run begins after that (default: %(default)s)")
    options = parser.parse_args()
    begun = time.monotonic()
    failures: collections.Counter[str] = collections.Counter()
    runs = 0
    # A run that has begun may end: it has its own time limits, test by test.
    with spinners(options.spinners, options.seconds + 600):
        while runs < options.times and time.monotonic() - begun < options.seconds:
            status, said = run_once(options.tests or SUSPECTS, options.workers)
            runs += 1
            if status:
                failures.update(set(FAILED.findall(said)) or {f"pytest ended with {status}"})
                print(said, flush=True)
    for name, count in failures.most_common():
        print(f"{count} of {runs}: {name}")
    complete = "" if runs == options.times else f", {options.times} were asked for"
    print(f"{runs} runs beside {options.spinners} spinners in {time.monotonic() - begun:.0f} s{complete}")
    return int(bool(failures) or runs < options.times)


if __name__ == "__main__":
    sys.exit(main())
