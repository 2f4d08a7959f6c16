"""What a datagram costs that is echoed in batches of 64, beside a C loop of recvmmsg(2) and sendmmsg(2).

    python -m bench.udp [--batches 3000] [--repeat 9]

The server's CPU time is read while nothing is in flight, before and after. Runs take turns; each ratio is of two runs
of one round; of all rounds the median is told, the least and the most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .build import udp_echo, udp_load
from .groups import summary

ROOT = Path(__file__).parents[1]
BATCH = 64
WARM_UP = 200  # batches
AT_MOST = 1.3


def measure(command: Sequence[str], batches: int) -> float:
    """Start a server, load it, and return its CPU time for one datagram, in microseconds.

    Raises:
        RuntimeError: A datagram was lost, or came back as another one's.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            with subprocess.Popen(
                [str(udp_load()), port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as load:
                exchange(load, WARM_UP)
                before = cpu_ns(server.pid)
                exchange(load, batches)
                return (cpu_ns(server.pid) - before) / 1000 / (batches * BATCH)
        finally:
            server.terminate()


def exchange(load: subprocess.Popen[str], batches: int) -> None:
    """Have the load send ``batches`` batches, and wait until they are back."""
    assert load.stdin is not None
    assert load.stdout is not None
    load.stdin.write(f"{batches}\n")
    load.stdin.flush()
    if load.stdout.readline() != "done\n":
        raise RuntimeError("the load has failed: see what it says")


def cpu_ns(pid: int) -> int:
    """Return the CPU time of a process: its own clock, as clock_getcpuclockid(3) names it."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def compare(batches: int, repeat: int) -> dict[str, list[float]]:
    """Return the cost of a datagram of each, by name, in each of ``repeat`` rounds in which they take turns."""
    python = [sys.executable, "-m", "bench.servers.penstock_udp"]
    commands = {"recvmmsg(2)": [str(udp_echo())], "native": [*python, "native"], "pure": [*python, "pure"]}
    costs: dict[str, list[float]] = {}
    for _ in range(repeat):
        for name, command in commands.items():
            costs.setdefault(name, []).append(measure(command, batches))
    return costs


def main() -> None:
    """Print the costs and their ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("--batches", 3000), ("--repeat", 9)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    costs = compare(options.batches, options.repeat)
    limit = costs["recvmmsg(2)"]
    ratios = {name: [one / other for one, other in zip(of, limit, strict=True)] for name, of in costs.items()}
    report = {
        "us_per_datagram": {name: summary(of) for name, of in costs.items()},
        "ratio": {name: summary(of) for name, of in ratios.items()},
        "ratio_of_least": {name: round(min(of) / min(limit), 3) for name, of in costs.items()},
        "at_most": AT_MOST,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
