"""One contestant doing one scenario once: the figure, and what was seen beside it."""

from __future__ import annotations

import csv
import os
import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import build
from .build import UnavailableError
from .contestants import Contestant, Interpreters
from .process import TICK_NS, FailedError, Load, Server
from .scenarios import Scenario

WARMUP_SHARE = 0.25
# Slack over the window's own length for connecting, draining and a machine that is busy with something else.
PATIENCE_S = 60.0
REDIS_PAYLOAD_BYTES = "16"

Record = dict[str, Any]


def _load_argv(scenario: Scenario, server: Server, mode: str) -> list[str | Path]:
    return [
        build.load() if scenario.tls is None else build.load_tls(),
        *(() if scenario.tls is None else ("--tls", scenario.tls)),
        *("--port", str(server.port), "--mode", mode, "--framing", scenario.framing),
        *("--connections", str(scenario.connections), "--depth", str(scenario.depth), "--size", str(scenario.size)),
    ]


def _command(scenario: Scenario, contestant: Contestant, interpreters: Interpreters) -> list[str | Path]:
    command = contestant.command(interpreters, scenario.framing)
    return command if scenario.tls is None else [*command, "--tls-cert", build.certificate()]


def _window(scenario: Scenario, server: Server, mode: str) -> Record:
    """Run the load once. The server's CPU is read while nothing is in flight, right before and after the window."""
    timing = ["--sync", "--seconds", str(scenario.seconds), "--warmup-seconds", str(scenario.seconds * WARMUP_SHARE)]
    patience_s = scenario.seconds + PATIENCE_S
    with Load([*_load_argv(scenario, server, mode), *timing]) as load:
        load.expect("window", patience_s)
        user, system = server.stat_ns()
        cpu = server.cpu_ns()
        load.tell("")
        load.expect("end", patience_s)
        cpu = server.cpu_ns() - cpu
        user_after, system_after = server.stat_ns()
        load.tell("")
        seen = load.result(patience_s)
    user, system = user_after - user, system_after - system
    return {
        **seen,
        "server_cpu_ns": cpu,
        "stat_user_ns": user,
        "stat_system_ns": system,
        # Both count the same time; user and system are each cut to whole ticks at both ends.
        "clocks_agree": abs(user + system - cpu) <= 4 * TICK_NS + 0.02 * cpu,
        "server_cpu_share": cpu / 1e9 / seen["seconds"],
        "messages_per_s": seen["messages"] / seen["seconds"],
    }


def _cpu_per_message(scenario: Scenario, server: Server) -> Record:
    seen = _window(scenario, server, scenario.kind)
    return {**seen, "value": seen["server_cpu_ns"] / 1e3 / seen["messages"]}


def cpu_window(scenario: Scenario, server: Server) -> float:
    """Return the CPU time of a message, in microseconds, of a server that runs already."""
    cost: float = _cpu_per_message(scenario, server)["value"]
    return cost


def _fairness(scenario: Scenario, server: Server) -> Record:
    """Measure the p99 of the fifty without the firehose, then beside it."""
    alone = _window(scenario, server, "echo")
    beside = _window(scenario, server, "fairness")
    p99 = beside["latency_ns"]["p99"] / 1e3
    return {
        **beside,
        "value": p99,
        "alone": alone,
        "p99_growth": beside["latency_ns"]["p99"] / max(alone["latency_ns"]["p99"], 1),
        "firehose_messages_per_s": beside["firehose_messages"] / beside["seconds"],
    }


def _idle(scenario: Scenario, server: Server) -> Record:
    """Measure resident memory at a twentieth of the connections and at all of them: the slope has no fixed costs."""
    few = scenario.connections // 20
    with Load(_load_argv(scenario, server, "idle")) as load:
        resident = {}
        for level in (few, scenario.connections):
            load.tell(f"open {level}")
            held = load.result(PATIENCE_S)["held"]
            if held != level:
                raise FailedError(f"{held} of {level} connections held")
            resident[level] = server.resident_bytes()
        load.tell("close")
        load.result(PATIENCE_S)
    growth = resident[scenario.connections] - resident[few]
    return {"value": growth / (scenario.connections - few), "resident_bytes": resident}


def _children_cpu_s() -> float:
    """Return the CPU time of all children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _redis_benchmark(scenario: Scenario, server: Server) -> Record:
    """Run the outside client: SET, then GET. It checks no bytes; the load generator does, in another scenario."""

    def drive(requests: int) -> list[dict[str, str]]:
        argv = [
            *("redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-t", "set,get", "--csv"),
            *("-c", str(scenario.connections), "-P", str(scenario.depth), "-n", str(requests)),
            *("-d", REDIS_PAYLOAD_BYTES, "-r", "1000"),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
        rows = list(csv.DictReader(done.stdout.splitlines()))
        if done.returncode != 0 or [row.get("test") for row in rows] != ["SET", "GET"]:
            raise FailedError(f"redis-benchmark: {(done.stderr or done.stdout).strip()[-200:]}")
        return rows

    drive(max(scenario.requests // 10, 100))
    load_cpu_s, cpu = _children_cpu_s(), server.cpu_ns()
    rows = drive(scenario.requests)
    load_cpu_s, cpu = _children_cpu_s() - load_cpu_s, server.cpu_ns() - cpu
    requests = len(rows) * scenario.requests
    # Its clock ticks in ms: a run that takes none has an infinite rate.
    seconds = max(sum(scenario.requests / float(row["rps"]) for row in rows), 0.001)
    return {
        "value": cpu / 1e3 / requests,
        "server_cpu_ns": cpu,
        "messages": requests,
        "seconds": seconds,
        "messages_per_s": requests / seconds,
        "server_cpu_share": cpu / 1e9 / seconds,
        "load_cpu_share": load_cpu_s / seconds,
        "latency_ns": {
            "p50": max(float(row["p50_latency_ms"]) for row in rows) * 1e6,
            "p99": max(float(row["p99_latency_ms"]) for row in rows) * 1e6,
            "max": max(float(row["max_latency_ms"]) for row in rows) * 1e6,
        },
        "redis_benchmark": rows,
    }


def _client(scenario: Scenario, contestant: Contestant, interpreters: Interpreters, core: int) -> Record:
    """Run a client on ``core``, one request in flight, against the C echo server on the core of the load."""
    (load_core, *_) = os.sched_getaffinity(0)
    with Server([build.epoll_echo(), "--framing", "raw", "--port", "0"], load_core) as echo:
        command = contestant.command(interpreters, scenario.framing, echo.port)
        with Load([*command, "--core", str(core)], contestant.environment) as client:
            said = client.result(PATIENCE_S)
            if not said["ready"]:
                raise UnavailableError(said["why"])
            client.tell(str(max(scenario.requests // 10, 10)))
            client.result(PATIENCE_S)
            echo_cpu, began = echo.cpu_ns(), time.monotonic()
            client.tell(str(scenario.requests))
            cpu = client.result(PATIENCE_S)["cpu_ns"]
            seconds = time.monotonic() - began
            echo_cpu = echo.cpu_ns() - echo_cpu
    return {
        "value": cpu / 1e3 / scenario.requests,
        "client_cpu_ns": cpu,
        "messages": scenario.requests,
        "seconds": seconds,
        "messages_per_s": scenario.requests / seconds,
        "load_cpu_share": echo_cpu / 1e9 / seconds,
    }


DRIVERS: dict[str, Callable[[Scenario, Server], Record]] = {
    "echo": _cpu_per_message,
    "connect": _cpu_per_message,
    "accept": _cpu_per_message,
    "fairness": _fairness,
    "idle": _idle,
    "redis-benchmark": _redis_benchmark,
}


def measure_pair(
    scenario: Scenario, contestants: tuple[Contestant, Contestant], interpreters: Interpreters, core: int
) -> tuple[Record, Record]:
    """Start both servers on ``core`` and give them windows in turn, A B, B A, A B; the one that waits uses no CPU.

    Returns:
        What `measure` returns for one, for each: sums over its windows, without latencies.

    Raises:
        UnavailableError: One of them cannot run here.
        FailedError: One of them, or the load, did not do what it must.
    """
    windows: tuple[list[Record], list[Record]] = ([], [])
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Server(_command(scenario, each, interpreters), core, each.environment))
            for each in contestants
        ]
        for turn in range(scenario.turns):
            for index in (0, 1) if turn % 2 == 0 else (1, 0):
                try:
                    windows[index].append(_window(scenario, servers[index], scenario.kind))
                except FailedError as error:
                    key, words = contestants[index].key, servers[index].last_words()
                    raise FailedError(f"{key}: {error} (server: {words})") from error
    first, second = (_summed(each) for each in windows)
    return first, second


def _summed(windows: list[Record]) -> Record:
    total = {key: sum(each[key] for each in windows)
             for key in ("messages", "bytes", "seconds", "server_cpu_ns", "load_cpu_ns")}  # fmt: skip
    return {
        **total,
        "value": total["server_cpu_ns"] / 1e3 / total["messages"],
        "messages_per_s": total["messages"] / total["seconds"],
        "server_cpu_share": total["server_cpu_ns"] / 1e9 / total["seconds"],
        "load_cpu_share": total["load_cpu_ns"] / 1e9 / total["seconds"],
        "windows": [each["server_cpu_ns"] / 1e3 / each["messages"] for each in windows],
    }


def measure(scenario: Scenario, contestant: Contestant, interpreters: Interpreters, core: int) -> Record:
    """Start the contestant on ``core``, drive it, stop it.

    Returns:
        ``value``, the figure in the scenario's unit, and everything seen beside it.

    Raises:
        UnavailableError: The contestant cannot run here.
        FailedError: It, or the load, did not do what it must: a wrong byte is such a failure.
    """
    if scenario.kind == "client":
        return _client(scenario, contestant, interpreters, core)
    command = _command(scenario, contestant, interpreters)
    with Server(command, core, contestant.environment) as server:
        try:
            return DRIVERS[scenario.kind](scenario, server)
        except FailedError as error:
            raise FailedError(f"{error} (server: {server.last_words()})") from error
