"""Measure what moving idle connections from one worker to the next costs, in CPU time of all processes of the server.

A roll without connections costs the start of one worker and the end of another; that cost is subtracted. Run it with
``.venv/bin/python -m bench.handover``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SERVICE = """\
import penstock

class Idle(penstock.Handler):
    def on_takeover(self, conn, state: None):
        pass
"""
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 120


class Supervised:
    """A server with one worker."""

    def __init__(self, directory: Path, engine: str) -> None:
        (directory / "idle.py").write_text(SERVICE)
        command = [sys.executable, "-m", "penstock", "serve", "idle:Idle", "--codec", "lines", "--engine", engine]
        limits = ["--max-connections", "none", "--max-per-peer", "none", "--timeout-first-message", "none"]
        self.process = subprocess.Popen(
            [*command, *limits, "--workers", "1", "--bind", "tcp://127.0.0.1:0", "--print-ready", "--backlog", "4096"],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        facts = json.loads(self.process.stdout.readline())
        host, _, port = facts["addresses"][0].partition("://")[2].rpartition(":")
        self.address = host, int(port)
        self._log = b""

    def cpu_s(self) -> float:
        """Return what the supervisor, its workers and those that have ended have used so far."""
        sums = _times(self.process.pid)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        with contextlib.suppress(FileNotFoundError):
            sums += sum(_times(int(pid), own=True) for pid in children.split())
        return sums / TICKS

    def said(self, text: str) -> str:
        """Wait for a line of the log."""
        assert self.process.stderr is not None
        while True:
            line, newline, rest = self._log.partition(b"\n")
            if newline:
                self._log = rest
                if text in line.decode():
                    return line.decode()
                continue
            assert select.select([self.process.stderr], [], [], PATIENCE_S)[0], "the server says nothing more"
            more = os.read(self.process.stderr.fileno(), 65536)
            assert more, "the server has ended"
            self._log += more

    def roll(self) -> float:
        """Roll; return the CPU time that it took, once the old worker is gone."""
        before = self.cpu_s()
        self.process.send_signal(signal.SIGHUP)
        self.said("reloaded: ")
        print(f"    {self.said('handed over: ').partition('handed over: ')[2]}")
        return self.cpu_s() - before


def _times(pid: int, *, own: bool = False) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11 : 13 if own else 15])


def measure(engine: str, connections: int, rounds: int) -> float:
    """Return the median cost of moving ``connections`` connections, in seconds of CPU time."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        served = Supervised(Path(directory), engine)
        stack.callback(served.process.wait)
        stack.callback(served.process.terminate)
        without = statistics.median(served.roll() for _ in range(rounds))
        peers = [stack.enter_context(socket.create_connection(served.address)) for _ in range(connections)]
        for peer in peers[:: max(1, connections // 100)]:  # each has been accepted
            peer.setblocking(False)
        costs = [served.roll() - without for _ in range(rounds)]
        for peer in peers:
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                assert peer.recv(1), "a connection has ended"
        print(f"  {engine}: a roll without connections takes {without:.2f} s of CPU time")
        return statistics.median(costs)


def main() -> None:
    """Measure, and print a line for each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", action="append", choices=("pure", "native"))
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for engine in arguments.engine or ("native", "pure"):
        cost = measure(engine, arguments.connections, arguments.rounds)
        print(f"{engine}: {arguments.connections} idle connections moved for {cost:.2f} s of CPU time")


if __name__ == "__main__":
    main()
