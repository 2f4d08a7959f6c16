"""Measure what several workers cost, and how what comes is spread over them.

    python -m bench.workers spread          # 1,000 connections over 2, 4 and 8 workers: the most of one by the mean
    python -m bench.workers cpu             # CPU time per message with two workers, by that with one
    python -m bench.workers instructions    # instructions per message under a supervisor, by those without
    python -m bench.workers idle            # as many idle connections as descriptors and --memory-gib allow

Each ends by itself, and speaks with this machine alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from .build import UnavailableError, counted
from .crowd import Crowd, memory_available_bytes
from .instructions import connect, exchange
from .machine import choose_cores, raise_descriptor_limit
from .measure import cpu_window
from .process import ALLOCATOR, FailedError, LineReader, Server
from .scenarios import SCENARIOS

SERVICES: Final = Path(__file__).parent / "servers/penstock_workers.py"
ENGINES: Final = ("native", "pure")
ROUNDS: Final = 5
# Under callgrind two interpreters start, one after the other.
START_TIMEOUT_S: Final = 600.0
# Of the descriptors of a worker, those that idle connections may take: what comes is not spread quite evenly.
FILLED: Final = 0.8
STEP: Final = 20_000
GIB: Final = 2**30

Rows = dict[str, float]


class Supervised(Server):
    """``penstock serve`` of one of the services, with workers or, for None, without a supervisor."""

    _stdin = subprocess.PIPE

    def __init__(
        self,
        service: str,
        workers: int | None,
        *,
        engine: str,
        core: int | None = None,
        bind: str = "tcp://127.0.0.1:0",
        tool: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-m", "penstock", "serve", f"{SERVICES}:{service}", "--engine", engine]
        command += ["--bind", bind, "--print-ready", "--no-access-log", "--log-level", "warning"]
        command += ["--max-connections", "none", "--max-per-peer", "none", "--timeout-first-message", "none"]
        command += ["--timeout-idle", "none", "--backlog", "4096"]
        # Both look at the clock from time to time, and so cost a message more on a busy machine.
        command += ["--memory-limit", "none", "--stall-warning", "none"]
        if workers is not None:
            command += ["--workers", str(workers), "--no-spare-worker"]
        super().__init__([*tool, *command], core, {**ALLOCATOR, **(environment or {})})

    def _await_ready(self) -> None:
        assert self._process.stdout is not None
        line = LineReader(self._process.stdout).line(START_TIMEOUT_S)
        if line is None:
            raise FailedError(f"it did not start; {self.last_words()}")
        self.facts: dict[str, Any] = json.loads(line)
        port = self.facts["addresses"][0].rpartition(":")[2]
        self.port = int(port) if port.isdecimal() else 0

    @property
    def pipes(self) -> tuple[int, int]:
        """The descriptors of its standard input and output."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin.fileno(), self._process.stdout.fileno()


# -- how connections are spread ----------------------------------------------------------------------------------------


def spread(workers: int, connections: int, *, engine: str = "native", unix: bool = False) -> float:
    """Open connections and keep them; return how many the busiest worker has, divided by the mean."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = f"{folder}/sock"
        served = stack.enter_context(
            Supervised("who", workers, engine=engine, bind=f"unix:{path}" if unix else "tcp://127.0.0.1:0")
        )
        peers: list[socket.socket] = []
        for _ in range(connections):
            peer = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
            peers.append(stack.enter_context(peer))
            peer.settimeout(60)
            peer.connect(path if unix else ("127.0.0.1", served.port))
            peer.sendall(b"who\n")
        counts = Counter(peer.recv(64) for peer in peers)
    return max(counts.values()) / (connections / workers)


# -- what a message costs ----------------------------------------------------------------------------------------------


def cpu(depth: int, *, engine: str, rounds: int, seconds: float, core: int, connections: int = 64) -> list[float]:
    """Return, round by round, the CPU time of a message with two workers, divided by that with one."""
    work = replace(
        next(each for each in SCENARIOS if each.name == "line-echo-1"),
        depth=depth,
        connections=connections,
        seconds=seconds,
    )
    ratios = []
    for number in range(rounds):
        costs: dict[int, float] = {}
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            with Supervised("echo", workers, engine=engine, core=core) as served:
                costs[workers] = cpu_window(work, served)
        ratios.append(costs[2] / costs[1])
    return ratios


def instructions(workers: int | None, *, engine: str) -> Rows:
    """Return the instructions of a message, in the process that serves it."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise UnavailableError("valgrind is not installed")
    with tempfile.TemporaryDirectory() as folder:
        tool = [valgrind, "-q", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={folder}/out.%p"]
        environment = {"BENCH_COUNTER": str(counted()), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        with Supervised("echo", workers, engine=engine, tool=tool, environment=environment) as served:
            inbox, outbox = served.pipes
            dumps = 0

            def round_of(work: Callable[[], object]) -> int:
                nonlocal dumps
                work()
                os.write(inbox, b".")
                os.read(outbox, 1)
                dumps += 1
                (out,) = Path(folder).glob(f"out.*.{dumps}")  # of the process that serves: it alone is told
                return int(re.findall(r"^totals: (\d+)", out.read_text(), re.MULTILINE)[-1])

            def measure(work: Callable[[], object], amount: int) -> float:
                return statistics.median([round_of(work) for _ in range(9)][2:]) / amount

            with connect(served.port) as peer:
                return {
                    "1 in flight": measure(lambda: exchange(peer, 1, 1000), 1000),
                    "32 in flight": measure(lambda: exchange(peer, 32, 6400), 6400),
                }


# -- how many can be held ----------------------------------------------------------------------------------------------


def idle(connections: int, *, engine: str, memory_bytes: int, say: Callable[[str], object] = print) -> Rows:
    """Hold connections up to a number of them, or to a bound of memory; return what was seen."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    workers = max(2, -(-connections // int(FILLED * descriptors)))
    with Supervised("echo", workers, engine=engine) as served:
        crowd = Crowd(served.port, connections)
        try:
            resident, available = served.resident_bytes(), memory_available_bytes()
            began = time.monotonic()
            while crowd.held < connections:
                before = crowd.held
                crowd.open(min(STEP, connections - before))
                used = available - memory_available_bytes()
                say(f"  {crowd.held:,} held, {used / GIB:.1f} GiB used, {time.monotonic() - began:.0f} s")
                if crowd.held < min(before + STEP, connections) or used > memory_bytes:
                    break
            asked = crowd.ask()
            return {
                "connections": crowd.held,
                "workers": workers,
                "resident bytes each": (served.resident_bytes() - resident) / crowd.held,
                "bytes of the machine each": (available - memory_available_bytes()) / crowd.held,
                "have answered again": asked,
                "seconds": time.monotonic() - began,
            }
        finally:
            crowd.close()


# -- the command -------------------------------------------------------------------------------------------------------


def _spread(chosen: argparse.Namespace) -> None:
    for unix in (False, True):
        for workers in chosen.workers or (2, 4, 8):
            ratio = spread(workers, chosen.connections or 1000, engine=chosen.engine or "native", unix=unix)
            kind = "one Unix socket" if unix else "a socket each"
            print(f"{workers} workers, {kind}: the busiest has {ratio:.2f} x the mean")


def _cpu(chosen: argparse.Namespace) -> None:
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.load})
    for engine in [chosen.engine] if chosen.engine else ENGINES:
        for depth in (1, 32):
            ratios = cpu(depth, engine=engine, rounds=chosen.rounds, seconds=chosen.seconds, core=cores.server)
            print(
                f"{engine}, {depth} in flight: a message with two workers costs {statistics.median(ratios):.3f} x that "
                f"with one ({min(ratios):.3f} to {max(ratios):.3f})"
            )


def _instructions(chosen: argparse.Namespace) -> None:
    for engine in [chosen.engine] if chosen.engine else ENGINES:
        alone, supervised = (instructions(workers, engine=engine) for workers in (None, 1))
        for name, count in alone.items():
            print(
                f"{engine}, {name}: {supervised[name]:,.0f} instructions under a supervisor, {count:,.0f} without "
                f"({(supervised[name] / count - 1) * 100:+.2f} %)"
            )


def _idle(chosen: argparse.Namespace) -> None:
    engine = chosen.engine or "native"
    seen = idle(chosen.connections or 1_000_000, engine=engine, memory_bytes=int(chosen.memory_gib * GIB))
    print(f"{engine}: " + ", ".join(f"{name} {value:,.0f}" for name, value in seen.items()))


COMMANDS: Final = {"spread": _spread, "cpu": _cpu, "instructions": _instructions, "idle": _idle}


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--engine", choices=ENGINES)
    parser.add_argument("--connections", type=int)
    parser.add_argument("--workers", type=int, action="append", help="of spread; repeatable")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of cpu (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a window of cpu (default: %(default)s)")
    parser.add_argument("--memory-gib", type=float, default=12.0, help="idle uses no more (default: %(default)s)")
    raise_descriptor_limit()
    chosen = parser.parse_args()
    COMMANDS[chosen.what](chosen)


if __name__ == "__main__":
    main()
