"""What a delivery to a member of a group costs, beside a C loop that calls send(2) for each.

    python -m bench.groups [--members 10000] [--rounds 20] [--repeat 5]

Both send to peers that hold the connections and do not read, so that nothing wakes while it is measured; what is sent
fits into their buffers. The runs take turns, and of each the least is taken: what else the machine does only adds.
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

from .build import send_each

ROOT = Path(__file__).parents[1]
AT_MOST = 1.08
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


def compare(members: int, rounds: int, repeat: int) -> dict[str, float]:
    """Return the least cost of a delivery of each, by name."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    python = [sys.executable, "-m", "bench.servers.penstock_group"]
    least: dict[str, float] = {}
    try:
        # Frames of the same length: a line, and a string of JSON with its quotes.
        commands = {
            "send(2)": [str(send_each()), str(members), str(rounds), f"{TEXT}\n"],
            "lines": [*python, "lines", str(members), str(rounds), TEXT],
            "json-lines": [*python, "json-lines", str(members), str(rounds), TEXT[2:]],
        }
        for _ in range(repeat):
            for name, command in commands.items():
                least[name] = min(measure(command, members), least.get(name, float("inf")))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return least


def main() -> None:
    """Print the costs and their ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("--members", 10_000), ("--rounds", 20), ("--repeat", 5)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    least = compare(options.members, options.rounds, options.repeat)
    ratios = {name: round(cost / least["send(2)"], 3) for name, cost in least.items()}
    print(
        json.dumps(
            {"members": options.members, "us_per_delivery": least, "ratio": ratios, "at_most": AT_MOST}, indent=2
        )
    )


if __name__ == "__main__":
    main()
