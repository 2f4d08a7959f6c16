"""The figures to hold, row by row, and the verdict on each."""

# ruff: noqa: RUF001, RUF002 -- the multiplication sign is meant

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from .scenarios import CIPHERED_YARDSTICKS, LIMITS_PAIRS
from .stats import Results, Spread


@dataclass(frozen=True)
class Limit:
    """``contestant``'s figure in ``scenario`` is at most ``at_most`` × ``yardstick``'s, or ``at_most`` of its unit."""

    scenario: str
    contestant: str
    yardstick: str | None
    at_most: float


@dataclass(frozen=True)
class Row:
    """One row of the table of figures to hold."""

    work: str
    limits: tuple[Limit, ...]


def _line_echo(depth: int, contestant: str, **at_most: float) -> tuple[Limit, ...]:
    return tuple(
        Limit(f"line-echo-{depth}", contestant, yardstick.replace("_", "-"), ratio)
        for yardstick, ratio in at_most.items()
    )


ROWS = (
    Row(
        "line echo, 64 connections, 1 in flight, def handler",
        _line_echo(1, "penstock-native", c_epoll_raw=1.10, tokio=1.0, uvloop_protocol=0.55),
    ),
    Row(
        "the same, 32 in flight",
        _line_echo(32, "penstock-native", c_epoll_raw=1.8, uvloop_protocol=0.5, asyncio_streams=0.05),
    ),
    Row(
        "async def message handler, 1 and 32 in flight",
        _line_echo(1, "penstock-native-async", uvloop_streams=0.5, uvloop_protocol=1.0)
        + _line_echo(32, "penstock-native-async", uvloop_streams=0.1, uvloop_protocol=1.0),
    ),
    Row(
        "connection handler, 1 and 32 in flight",
        _line_echo(1, "penstock-native-connection", uvloop_streams=0.5)
        + _line_echo(32, "penstock-native-connection", uvloop_streams=0.12),
    ),
    Row(
        "coroutines at the cost of functions, 1 and 32 in flight",
        _line_echo(1, "penstock-native", c_epoll_raw=1.08)
        + _line_echo(32, "penstock-native", c_epoll_raw=1.45)
        + _line_echo(1, "penstock-native-async", penstock_native=1.15, aiofastnet_uvloop_protocol=1.0)
        + _line_echo(32, "penstock-native-async", penstock_native=1.15, aiofastnet_uvloop_protocol=1.0)
        + _line_echo(1, "penstock-native-connection", penstock_native=1.25, aiofastnet_uvloop_protocol=1.0)
        + _line_echo(
            32, "penstock-native-connection", penstock_native=1.25, aiofastnet_uvloop_protocol=1.05, uvloop_streams=0.06
        ),
    ),
    Row(
        "asyncio's handlers as they are, 1 and 32 in flight: a Protocol ahead, a callback of streams at most 0.6 ×",
        tuple(
            Limit(f"adopted-{depth}", f"adopted-native-{style}", yardstick, at_most)
            for depth in (1, 32)
            for style, yardstick, at_most in (
                ("protocol", "uvloop-protocol", 1.0),
                ("protocol", "aiofastnet-uvloop-protocol", 1.0),
                ("protocol", "aiofastnet-asyncio-protocol", 1.0),
                ("streams", "uvloop-streams", 0.6),
            )
        ),
    ),
    Row(
        "async def that awaits what is done, a turn of the loop, a call in a thread: ahead of a Protocol and its tasks",
        tuple(
            Limit(f"wait-{wait}", f"penstock-native-{wait}", f"{loop}-tasks-{wait}", 1.0)
            for wait in ("done", "turn", "executor")
            for loop in ("asyncio", "uvloop")
        ),
    ),
    Row(
        "raw echo 64 KiB × 4 in flight, 8 connections",
        (Limit("raw-64k", "penstock-native", "c-epoll-raw", 1.05),),
    ),
    Row(
        "connect, one line, close",
        (
            Limit("connect", "penstock-native", "c-epoll-raw", 1.2),
            Limit("connect", "penstock-native", "uvloop-protocol", 0.7),
        ),
    ),
    Row(
        "idle connection, resident bytes added, on_message and on_connection",
        (
            Limit("idle", "penstock-native", None, 416),
            Limit("idle", "penstock-native-connection", None, 1550),
        ),
    ),
    Row(
        "pure engine on asyncio, never over asyncio's own hand-written Protocol × 1.3",
        tuple(
            Limit(scenario, "penstock-pure", "asyncio-protocol", 1.3)
            for scenario in ("line-echo-1", "line-echo-32", "raw-64k", "raw-1k", "length-prefixed-32", "connect")
        ),
    ),
    Row(
        "TLS 1.3: line echo 1 and 32 in flight, 64 KiB bulk, handshakes; memory of idle connections",
        tuple(
            Limit(scenario, "penstock-native", yardstick, at_most)
            for scenario in ("tls-line-1", "tls-line-32", "tls-raw-64k", "tls-connect-full", "tls-connect-resumed")
            for yardstick, at_most in (("c-tls-raw", 1.15), *((peer, 1.0) for peer in CIPHERED_YARDSTICKS[1:]))
        )
        + tuple(Limit("tls-idle", "penstock-native", peer, 1.0) for peer in CIPHERED_YARDSTICKS[1:]),
    ),
    Row(
        "client: no slower than by hand, with threads and in a loop",
        (
            Limit("client", "client-sync", "client-socket", 1.15),
            Limit("client", "client-native", "client-uvloop-streams", 1.0),
            Limit("client", "client-uvloop", "client-uvloop-streams", 1.0),
        ),
    ),
    Row(
        "every limit on, against none: at most 3 %",
        tuple(Limit(scenario, on, off, 1.03) for scenario, pairs in LIMITS_PAIRS.items() for on, off in pairs),
    ),
    Row(
        "horizon: key-value service under redis-benchmark -P 16",
        (Limit("redis-benchmark-16", "kv-native", "redis", 1.25),),
    ),
)


class Judgement(Enum):
    """What became of a limit."""

    MET = "met"
    MISSED = "missed"
    OPEN = "open"  # the limit lies within what the rounds leave open
    UNMEASURED = "unmeasured"


@dataclass(frozen=True)
class Verdict:
    """One limit, held against what was measured.

    Attributes:
        found: The ratio of each round, or the figures where there is no yardstick; None if it was not measured.
        text: The judgement in words: by how much it was missed, or why there is no figure.
    """

    limit: Limit
    judgement: Judgement
    found: Spread | None
    text: str


def judge(limit: Limit, results: Mapping[str, Results]) -> Verdict:
    """Hold one limit against the results, by scenario name."""

    def unmeasured(reason: str) -> Verdict:
        return Verdict(limit, Judgement.UNMEASURED, None, f"not measured: {reason}")

    if limit.scenario not in results:
        return unmeasured("not in this run")
    seen = results[limit.scenario]
    both = [key for key in (limit.contestant, limit.yardstick) if key]
    for contestant in both:
        if contestant not in seen:
            return unmeasured(f"{contestant}: {seen.why_missing(contestant)}")
    found = seen.ratio(limit.contestant, limit.yardstick) if limit.yardstick else seen.values(limit.contestant)
    if found is None:
        return unmeasured("no round has both")
    off = 100 * (found.median / limit.at_most - 1)
    aside = "; bound by the load" if any(map(seen.bound_by_load, both)) else ""
    if found.high <= limit.at_most:
        return Verdict(limit, Judgement.MET, found, f"met{aside}")
    if found.low > limit.at_most:
        return Verdict(limit, Judgement.MISSED, found, f"missed by {off:.0f} %{aside}")
    side = f"{off:.0f} % over" if off > 0 else "under"
    return Verdict(limit, Judgement.OPEN, found, f"cannot tell: {side}, within the spread{aside}")
