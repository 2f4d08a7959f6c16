"""What a request costs a client: one in flight, against the C echo server, the clients taking turns. See README.md.

    python -m bench.clients [--rounds 9] [--requests 20000] [--write FILE]

The figure is the client process's CPU time per request, user and system, divided by the yardstick's of the same round.
"""

# ruff: noqa: RUF001 -- the multiplication sign is meant

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import build, machine
from .contestants import HERE, Interpreters
from .process import ALLOCATOR, Load, Server
from .stats import Spread, number

ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Client:
    """One client program.

    Attributes:
        key: Its name in tables and raw data.
        script: In ``competitors``.
        loop: The value of its ``--loop``; None where it has none.
        yardstick: The key of the one it is divided by.
        at_most: The ratio to hold; None for those who are only shown.
    """

    key: str
    script: str
    loop: str | None = None
    yardstick: str | None = None
    at_most: float | None = None


CLIENTS = (
    Client("socket + makefile", "client_socket.py"),
    Client("connect_sync", "client_penstock.py", "none", "socket + makefile", 1.15),
    Client("uvloop streams", "client_streams.py", "uvloop"),
    Client("asyncio streams", "client_streams.py", "asyncio", "uvloop streams"),
    Client("connect on uvloop", "client_penstock.py", "uvloop", "uvloop streams", 1.0),
    Client("connect on asyncio", "client_penstock.py", "asyncio", "uvloop streams"),
    Client("connect on the native engine", "client_penstock.py", "native", "uvloop streams", 1.0),
)


def measure(clients: Sequence[Client], rounds: int, requests: int) -> dict[str, list[float]]:
    """Return CPU microseconds per request, one for each round, of every client that can run here."""
    cores = machine.choose_cores()
    interpreters = Interpreters()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server([build.epoll_echo(), "--framing", "raw", "--port", "0"], cores.load))
        running: dict[str, Load] = {}
        for client in clients:
            ours = client.script == "client_penstock.py"
            argv: list[str | Path] = [interpreters.penstock if ours else interpreters.competitors]
            argv += [HERE / "competitors" / client.script, "--port", str(server.port), "--core", str(cores.server)]
            argv += ["--loop", client.loop] if client.loop else []
            program = stack.enter_context(Load(argv))
            said = program.result(ANSWER_TIMEOUT_S)
            if said["ready"]:
                running[client.key] = program
            else:
                print(f"{client.key}: {said['why']}", file=sys.stderr)
        figures: dict[str, list[float]] = {key: [] for key in running}
        for turn in range(-1, rounds):  # the first one is the warm-up
            for key, program in running.items():
                program.tell(str(requests))
                cpu_ns = program.result(ANSWER_TIMEOUT_S)["cpu_ns"]
                if turn >= 0:
                    figures[key].append(cpu_ns / requests / 1e3)
    return figures


def table(figures: dict[str, list[float]]) -> str:
    """Write the figures as a table."""
    lines = ["| client | µs CPU/request | × | of | at most |", "| --- | ---: | ---: | --- | ---: |"]
    for client in CLIENTS:
        if client.key not in figures:
            continue
        median = number(Spread.of(figures[client.key]).median)
        if client.yardstick is None or client.yardstick not in figures:
            lines.append(f"| {client.key} | {median} | | | |")
            continue
        pairs = zip(figures[client.key], figures[client.yardstick], strict=True)
        ratio = Spread.of(ours / theirs for ours, theirs in pairs)
        spread = f"{number(ratio.median)} ({number(ratio.least)} to {number(ratio.most)})"
        at_most = "" if client.at_most is None else number(client.at_most)
        lines.append(f"| {client.key} | {median} | {spread} | {client.yardstick} | {at_most} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=20_000, help="in each round")
    parser.add_argument("--only", action="append", metavar="KEY", help="these clients (repeatable)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="raw data, as JSON")
    options = parser.parse_args(argv)
    os.environ.update(ALLOCATOR)
    chosen = [client for client in CLIENTS if not options.only or client.key in options.only]
    figures = measure(chosen, options.rounds, options.requests)
    print(table(figures))
    if options.write is not None:
        described = machine.facts(machine.choose_cores(), machine.raise_descriptor_limit())
        saved = {"requests": options.requests, "machine": described, "us_per_request": figures}
        options.write.write_text(json.dumps(saved, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
