"""What a delivery to a member of a group costs, beside a C loop that calls send(2) for each.

    python -m bench.groups [--members 10000] [--rounds 20] [--repeat 7]

Both send to peers that hold the connections and do not read, so that nothing wakes while it is measured; what is sent
fits into their buffers. The runs take turns. Each ratio is of two runs of one round; of all rounds the median is told,
the least and the most, and the ratio of the least costs: what else the machine does only adds.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from .build import send_each

ROOT = Path(__file__).parents[1]
AT_MOST = 1.08
SPARE_DESCRIPTORS = 100  # beside the connections
TEXT = "x" * 30


def measure(command: Sequence[str], members: int) -> float:
    """Start one, connect MEMBERS times, and return the CPU time of a delivery that it prints, in microseconds."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        peers = []
        try:
            peers += [socket.create_connection(("127.0.0.1", port)) for _ in range(members)]
            return float(process.stdout.readline())
        finally:
            for peer in peers:
                peer.close()
            process.terminate()


def compare(members: int, rounds: int, repeat: int) -> dict[str, list[float]]:
    """Return the cost of a delivery of each, by name, in each of ``repeat`` rounds in which they take turns."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < members + SPARE_DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    python = [sys.executable, "-m", "bench.servers.penstock_group"]
    costs: dict[str, list[float]] = {}
    try:
        # Frames of the same length: a line, and a string of JSON with its quotes.
        commands = {
            "send(2)": [str(send_each()), str(members), str(rounds), f"{TEXT}\n"],
            "lines": [*python, "lines", str(members), str(rounds), TEXT],
            "json-lines": [*python, "json-lines", str(members), str(rounds), TEXT[2:]],
        }
        for _ in range(repeat):
            for name, command in commands.items():
                costs.setdefault(name, []).append(measure(command, members))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return costs


def summary(costs: Sequence[float]) -> dict[str, float]:
    """Say what is in the middle, and how far the others are from it."""
    return {
        "median": round(median(costs), 4),
        "least": round(min(costs), 4),
        "most": round(max(costs), 4),
    }


def main() -> None:
    """Print the costs and their ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("--members", 10_000), ("--rounds", 20), ("--repeat", 7)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    costs = compare(options.members, options.rounds, options.repeat)
    limit = costs["send(2)"]
    # Each beside that of its own round: what the machine does meanwhile meets both.
    ratios = {name: [one / other for one, other in zip(of, limit, strict=True)] for name, of in costs.items()}
    report = {
        "members": options.members,
        "us_per_delivery": {name: summary(of) for name, of in costs.items()},
        "ratio": {name: summary(of) for name, of in ratios.items()},
        "ratio_of_least": {name: round(min(of) / min(limit), 3) for name, of in costs.items()},
        "at_most": AT_MOST,
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
