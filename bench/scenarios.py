"""What is measured: one entry per piece of work, with who does it and what it is compared with."""

# ruff: noqa: RUF001 -- the multiplication sign is meant

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["echo", "connect", "accept", "idle", "fairness", "redis-benchmark", "client"]
Tls = Literal["full", "resumed"]
Pair = tuple[str, str]

PYTHON = ("uvloop-protocol", "uvloop-streams", "asyncio-protocol", "asyncio-streams")
AIOFASTNET = (
    "aiofastnet-uvloop-protocol",
    "aiofastnet-uvloop-streams",
    "aiofastnet-asyncio-protocol",
    "aiofastnet-asyncio-streams",
)
OTHERS = ("threads", "gevent", "twisted", "trio", "anyio", "easynetwork")
FORMS = ("penstock-native", "penstock-native-async", "penstock-native-connection", "penstock-native-callbacks")
PURE_FORMS = ("penstock-pure", "penstock-pure-async", "penstock-pure-connection")
ADOPTED = ("adopted-native-protocol", "adopted-native-streams", "adopted-pure-protocol", "adopted-pure-streams")
KEY_VALUE = ("redis", "kv-native", "kv-pure")


@dataclass(frozen=True)
class Scenario:
    """One piece of work.

    Attributes:
        name: Its name on the command line and in file names.
        title: Its name in the report.
        kind: How it is driven: see `bench.measure`.
        contestants: Who does it, in the order in which they take turns.
        yardsticks: Whom the others are divided by, round by round.
        unit: Of the figure that is compared; less is better.
        connections: Held open by the load (idle: the larger of two levels).
        depth: Messages in flight on each.
        size: Payload bytes of one message, framing excluded.
        seconds: Length of the measured window; 0 where it is no question of time.
        tls: Over TLS 1.3, whose handshakes are done in full, or with a ticket; None: in clear.
        requests: redis-benchmark's ``-n``, for each of the two commands.
        pairs: A contestant and its own yardstick, whose servers run at once and are given windows in turn: what differs
            by so little that a second between them would hide it.
        turns: Windows of each of a pair, in one round.
        rounds_most: Rounds beyond this show nothing new.
    """

    name: str
    title: str
    kind: Kind
    contestants: tuple[str, ...]
    yardsticks: tuple[str, ...]
    unit: str = "µs CPU/message"
    framing: str = "lines"
    connections: int = 64
    depth: int = 1
    size: int = 31
    seconds: float = 1.0
    tls: Tls | None = None
    requests: int = 0
    pairs: tuple[Pair, ...] = ()
    turns: int = 1
    rounds_most: int = 1000

    def tiny(self) -> Scenario:
        """Return the same work at a size that shows that it runs, and nothing about how fast."""
        return replace(
            self,
            connections=100 if self.kind == "idle" else min(self.connections, 4),
            seconds=min(self.seconds, 0.02),
            requests=min(self.requests, 400),
            turns=1,
        )


LINE_ECHO = (
    "c-epoll-raw", "c-epoll", "tokio", "go", *FORMS, *PURE_FORMS, "penstock-pure-uvloop",
    "penstock-pure-default-malloc", "penstock-blocking", *PYTHON, *AIOFASTNET,
    "asyncio-protocol-default-malloc", *OTHERS,
)  # fmt: skip
# Where the form of a handler and the allocator say nothing new.
FEWER = tuple(
    key
    for key in LINE_ECHO
    if key not in ("penstock-native-callbacks", "penstock-pure-async", "penstock-pure-uvloop")
    and not key.endswith("-default-malloc")
    and key not in AIOFASTNET[1:]
)
# penstock-blocking has a thread per connection, from a pool that is never that large.
HOLD_MANY = tuple(key for key in FEWER if key != "penstock-blocking")
FRAMED = ("c-epoll", "penstock-native", "penstock-pure", "penstock-pure-uvloop", *PYTHON)
BYTES = ("c-epoll-raw", "penstock-native", "penstock-pure", "penstock-pure-uvloop", *PYTHON)
YARDSTICKS = (
    "c-epoll-raw",
    "tokio",
    "penstock-native",
    "aiofastnet-uvloop-protocol",
    "uvloop-protocol",
    "asyncio-protocol",
    "uvloop-streams",
    "asyncio-streams",
)

CIPHERED = ("c-tls-raw", "c-tls", "penstock-native", "penstock-native-async", "penstock-native-connection",
            "penstock-pure", "penstock-pure-uvloop", *PYTHON, *AIOFASTNET)  # fmt: skip
CIPHERED_FEWER = ("c-tls-raw", "penstock-native", "penstock-pure", "uvloop-protocol", "asyncio-protocol",
                  "aiofastnet-uvloop-protocol", "aiofastnet-asyncio-protocol")  # fmt: skip
CIPHERED_YARDSTICKS = ("c-tls-raw", "aiofastnet-uvloop-protocol", "aiofastnet-asyncio-protocol", "uvloop-protocol",
                       "asyncio-protocol")  # fmt: skip

CLIENTS = ("client-socket", "client-sync", "client-uvloop-streams", "client-asyncio-streams", "client-native",
           "client-uvloop", "client-asyncio")  # fmt: skip

# The same server with no limit at all and with every limit there is, and all of their timers running.
LIMITED = {
    form: (f"{form}-limits-on", f"{form}-limits-off")
    for form in (
        "penstock-native",
        "penstock-native-async",
        "penstock-native-connection",
        "penstock-pure",
        "penstock-pure-connection",
    )
}
LIMITS_PAIRS: dict[str, tuple[Pair, ...]] = {
    "limits-1": tuple(LIMITED.values()),
    "limits-32": tuple(LIMITED.values()),
    "limits-raw-64k": (LIMITED["penstock-native"], LIMITED["penstock-pure"]),
    "limits-connect": (LIMITED["penstock-native"], LIMITED["penstock-pure"]),
}


def _limits(name: str, title: str, kind: Kind, **work: Any) -> Scenario:
    pairs = LIMITS_PAIRS[name]
    return Scenario(
        name,
        f"All limits on and off: {title}",
        kind,
        tuple(key for pair in pairs for key in pair),
        (),
        pairs=pairs,
        turns=5,
        seconds=0.2,
        **work,
    )


def _waiting(wait: str, title: str) -> Scenario:
    contestants = (f"penstock-native-{wait}", f"penstock-pure-{wait}", f"uvloop-tasks-{wait}", f"asyncio-tasks-{wait}")
    return Scenario(f"wait-{wait}", f"Line echo, 64 connections, 1 in flight, {title}", "echo", contestants,
                    (f"asyncio-tasks-{wait}", f"uvloop-tasks-{wait}"))  # fmt: skip


SCENARIOS = (
    Scenario("line-echo-1", "Line echo, 64 connections, 1 in flight", "echo", LINE_ECHO, YARDSTICKS),
    Scenario("line-echo-32", "Line echo, 64 connections, 32 in flight", "echo", LINE_ECHO, YARDSTICKS, depth=32),
    Scenario("raw-64k", "Raw echo, 64 KiB × 4 in flight, 8 connections", "echo", BYTES,
             ("c-epoll-raw", "uvloop-protocol", "asyncio-protocol"), framing="raw", connections=8, depth=4,
             size=64 * 1024),
    Scenario("raw-1k", "Raw echo, 1 KiB × 64 in flight, 8 connections", "echo", BYTES,
             ("c-epoll-raw", "uvloop-protocol", "asyncio-protocol"), framing="raw", connections=8, depth=64,
             size=1024),
    Scenario("one-connection", "Line echo, one connection, 1 in flight: its latency", "echo", FEWER,
             ("c-epoll-raw", "uvloop-protocol", "asyncio-protocol"), connections=1),
    Scenario("length-prefixed-32", "Length-prefixed echo, 64 connections, 32 in flight", "echo", FRAMED,
             ("c-epoll", "uvloop-protocol", "asyncio-protocol"), framing="length-prefixed", depth=32),
    Scenario("resp-echo-32", "RESP ECHO, 64 connections, 32 in flight", "echo", KEY_VALUE, ("redis",),
             framing="resp", depth=32),
    Scenario("redis-benchmark-1", "redis-benchmark SET and GET, 50 connections, -P 1", "redis-benchmark", KEY_VALUE,
             ("redis",), "µs CPU/request", framing="resp", connections=50, requests=100_000),
    Scenario("redis-benchmark-16", "redis-benchmark SET and GET, 50 connections, -P 16", "redis-benchmark", KEY_VALUE,
             ("redis",), "µs CPU/request", framing="resp", connections=50, depth=16, requests=500_000),
    Scenario("connect", "Connect, one line, close", "connect", FEWER, ("c-epoll-raw", "uvloop-protocol",
             "asyncio-protocol"), "µs CPU/connection"),
    Scenario("accept", "Connect, close: no message", "accept", FEWER, ("c-epoll-raw", "uvloop-protocol",
             "asyncio-protocol"), "µs CPU/connection"),
    Scenario("idle", "10,000 idle connections", "idle", HOLD_MANY, ("asyncio-protocol", "asyncio-streams"),
             "bytes resident/connection", connections=10_000, seconds=0, rounds_most=2),
    Scenario("fairness", "50 connections at 1 in flight beside one that pipelines without pause", "fairness",
             FEWER, ("c-epoll-raw", "uvloop-protocol", "asyncio-protocol"), "µs p99 of the 50", connections=50),
    Scenario("client", "A client's own cost: one request in flight against the C echo server", "client", CLIENTS,
             ("client-socket", "client-uvloop-streams"), "µs CPU/request", framing="request", connections=1,
             seconds=0, requests=20_000),
    *(
        Scenario(f"tls-line-{depth}", f"Line echo over TLS 1.3, 64 connections, {depth} in flight", "echo", CIPHERED,
                 CIPHERED_YARDSTICKS, depth=depth, tls="full")
        for depth in (1, 32)
    ),
    Scenario("tls-raw-64k", "Raw echo over TLS 1.3, 64 KiB × 4 in flight, 8 connections", "echo", CIPHERED_FEWER,
             CIPHERED_YARDSTICKS, framing="raw", connections=8, depth=4, size=64 * 1024, tls="full"),
    Scenario("tls-connect-full", "Connect, TLS 1.3 handshake in full, one line, close", "connect", CIPHERED_FEWER,
             CIPHERED_YARDSTICKS, "µs CPU/connection", tls="full"),
    Scenario("tls-connect-resumed", "Connect, TLS 1.3 handshake with a ticket, one line, close", "connect",
             CIPHERED_FEWER, CIPHERED_YARDSTICKS, "µs CPU/connection", tls="resumed"),
    Scenario("tls-idle", "1,000 idle connections over TLS 1.3", "idle", CIPHERED_FEWER, CIPHERED_YARDSTICKS,
             "bytes resident/connection", connections=1_000, seconds=0, rounds_most=2, tls="full"),
    *(
        Scenario(f"adopted-{depth}", f"Line echo by handlers of asyncio, 64 connections, {depth} in flight", "echo",
                 (*ADOPTED, *PYTHON, *AIOFASTNET),
                 ("uvloop-protocol", "aiofastnet-uvloop-protocol", "aiofastnet-asyncio-protocol", "uvloop-streams"),
                 depth=depth)
        for depth in (1, 32)
    ),
    _waiting("done", "after awaiting a future that is done"),
    _waiting("turn", "after awaiting a turn of the loop"),
    _waiting("executor", "after awaiting a call in a thread"),
    _limits("limits-1", "line echo, 64 connections, 1 in flight", "echo"),
    _limits("limits-32", "line echo, 64 connections, 32 in flight", "echo", depth=32),
    _limits("limits-raw-64k", "raw echo, 64 KiB × 4 in flight, 8 connections", "echo", framing="raw", connections=8,
            depth=4, size=64 * 1024),
    _limits("limits-connect", "connect, one line, close", "connect", unit="µs CPU/connection"),
)  # fmt: skip

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
