"""Connections under a random state machine, server and client: ``python fuzz/connections.py [--engine NAME] [--tls]``.

The server's handlers, those of others, other threads and signal handlers do anything that a connection's methods
allow, at any moment, and raise exceptions of every class; the client sends partial frames, resets, half-closes, urgent
data, or stalls. With ``--tls`` both speak TLS, from the beginning or once a handler has begun it, and the client also
changes its keys, cuts and spoils records, and sends what is none. What has to hold after each run: one ``closed`` event
for each ``accepted``, the server stops, nothing has a place at the gate, no connection or buffer is left (a debug build
counts them), and no sanitizer says anything.

Each run has a seed, which is told when it fails: ``--seed N --runs 1`` repeats its choices, not the timing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import importlib
import logging
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

from peers import BEGIN_TLS, Peer

import penstock
from penstock.codecs import parse_codec
from penstock.config import Timeouts
from penstock.core.events import Accepted, Closed, Event
from penstock.testing.certificates import server_certificate

ENGINES = ("native", "attached", "pure", "uvloop", "blocking")
COMPARES_TIMERS = asyncio.TimerHandle.__lt__.__code__
HANG_S = 60.0
PATIENCE_S = 5.0
PEERS = 24

TIMEOUTS = Timeouts(
    handshake_s=0.3,
    first_message_s=0.5,
    idle_s=0.5,
    message_s=0.5,
    write_s=0.3,
    lifetime_s=2.0,
    drain_s=0.5,
    linger_s=0.1,
    after_close_s=0.2,
)


class UnprintableError(Exception):
    """Raises when it is shown."""

    def __str__(self) -> str:
        raise ValueError("not to be shown")

    __repr__ = __str__


class OfNoKind(BaseException):
    """Of no class that anybody expects."""


EXCEPTIONS: tuple[Callable[[], BaseException], ...] = (
    lambda: ValueError("fuzz"),
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    asyncio.CancelledError,
    StopIteration,
    StopAsyncIteration,
    RecursionError,
    MemoryError,
    TimeoutError,
    UnprintableError,
    OfNoKind,
    lambda: ConnectionResetError(104, "fuzz"),
    lambda: penstock.ClosedError("fuzz"),
)
CODECS = ("lines", "raw", "length-prefixed:size=2", "lines:on-oversize=skip,max=200", "netstring", "lines:quiet=20ms")


class World:
    """One run: its choices, its server, what it has seen."""

    def __init__(self, seed: int, engine: str, *, ciphered: bool) -> None:
        self.rng = random.Random(seed)
        self.engine = engine
        self.tls = self.rng.choice(("tls", "tls", "start")) if ciphered else ""
        self.lock = threading.RLock()  # a signal handler may do what has an event while another is kept
        self.live: dict[int, Any] = {}
        self.accepted: Counter[int] = Counter()
        self.closed: Counter[int] = Counter()
        self.server: penstock.Server | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.over = threading.Event()
        self.enough = asyncio.Event()  # set on the loop, when the peers have had enough

    def observe(self, event: Event) -> None:
        """Keep what tells of beginnings and ends."""
        with self.lock:
            if isinstance(event, Accepted):
                self.accepted[event.connection.id] += 1
                self.live[event.connection.id] = event.connection
            elif isinstance(event, Closed):
                self.closed[event.connection.id] += 1
                self.live.pop(event.connection.id, None)

    def any_connection(self) -> Any:
        """Return one that is alive, perhaps; None where there is none."""
        living = list(self.live.values())
        return self.rng.choice(living) if living else None

    # -- what is done to connections -----------------------------------------------------------------------------------

    def message(self) -> bytes:
        """Return one of any size."""
        return b"x" * self.rng.choice((0, 1, 5, 200, 5000, 200_000))

    def act(self, conn: Any) -> None:
        """Do one thing to a connection that returns at once. What that refuses is fine."""
        if conn is None:
            return
        rng = self.rng
        choice = rng.randrange(27)
        with contextlib.suppress(penstock.PenstockError, TypeError, OSError):
            if choice < 4:
                conn.post(self.message())
            elif choice == 4:
                conn.post_frame(conn.frame(self.message()))
            elif choice == 5:
                conn.try_send(self.message())
            elif choice == 6:
                conn.close()
            elif choice == 7:
                conn.abort()
            elif choice == 8:
                conn.send_eof()
            elif choice == 9:
                conn.set_codec(parse_codec(rng.choice(CODECS)))
            elif choice == 10:
                conn.set_handler(Callbacks())
            elif choice == 11:
                conn.set_timeouts(idle_s=rng.choice((None, 0.05, 1.0)), lifetime_s=rng.choice((None, 0.05)))
            elif choice == 12:
                conn.set_limits(write_high_bytes=rng.choice((1024, 65536)), write_low_bytes=rng.choice((0, 1024)))
            elif choice == 13:
                conn.begin_handshake()
            elif choice == 14:
                conn.end_handshake()
            elif choice == 15:
                _ = repr(conn), str(conn.peer), conn.local, conn.codec, conn.queued_bytes, conn.close_reason
            elif choice == 16:
                _ = conn.draining, conn.messages_in, conn.messages_out, conn.bytes_in, conn.bytes_out, conn.opened_at
            elif choice == 17:
                conn.state = conn
            elif choice == 18:
                gc.collect(0)
            elif choice == 19:
                self.act(self.any_connection())
            elif choice == 20 and rng.random() < 0.03:
                conn.server.begin_drain() if rng.random() < 0.5 else conn.server.begin_stop()
            elif choice == 21 and rng.random() < 0.3:
                conn.fileno()
            elif choice == 22:
                conn.task(self.work(conn), finish=rng.random() < 0.5)
            elif choice == 23:
                conn.task(self.ask(conn))
            elif choice == 24:
                conn.close(detail="fuzz")
            elif choice == 25:
                conn.start_tls()  # refused, unless a handler may begin TLS at this address
            elif choice == 26:
                conn.post(self.message(), on_full=rng.choice(("raise", "drop_oldest", "drop_newest", "disconnect")))

    async def ask(self, conn: Any) -> None:
        """Ask the peer beside the handler, as others may at the same time."""
        with contextlib.suppress(penstock.PenstockError, TypeError, TimeoutError):
            await conn.request(b"?" + self.message(), self.rng.choice((None, 0.02, 0.2)))

    async def work(self, conn: Any) -> None:
        """Do a thing beside the handler."""
        await asyncio.sleep(self.rng.choice((0, 0.01, 0.1)))
        self.disturb(conn)

    def begin_tls(self, conn: Any, message: Any) -> None:
        """Begin TLS where the peer waits for it."""
        if self.tls == "start" and bytes(message).startswith(BEGIN_TLS):
            with contextlib.suppress(penstock.PenstockError):
                conn.start_tls()

    def disturb(self, conn: Any) -> None:
        """Do things, and perhaps raise."""
        for _ in range(self.rng.randrange(3)):
            self.act(conn if self.rng.random() < 0.7 else self.any_connection())
        if self.rng.random() < 0.06:
            error = self.rng.choice(EXCEPTIONS)()
            raise error

    async def wait(self, conn: Any) -> None:
        """Wait for something, or for nothing."""
        rng = self.rng
        choice = rng.randrange(13)
        with contextlib.suppress(penstock.PenstockError, TypeError, TimeoutError, EOFError):
            if choice < 3:
                await conn.receive(rng.choice((None, 0.0, 0.05)))
            elif choice < 5:
                await conn.send(self.message())
            elif choice == 5:
                await asyncio.sleep(rng.choice((0, 0, 0.01)))
            elif choice == 6:
                await conn.request(self.message(), 0.05)
            elif choice == 7:
                async with asyncio.timeout(0.02), conn.while_open():
                    await asyncio.Event().wait()
            elif choice == 8:
                await conn.receive_exactly(rng.choice((0, 1, 300, 1 << 30)), 0.05)
            elif choice == 9:
                await conn.receive_until(b"x", rng.choice((None, 5)), 0.05)
            elif choice == 10:
                await conn.send_raw(self.message())
            elif choice == 11:
                async with asyncio.timeout(0.02):
                    await (conn.wait_draining() if rng.random() < 0.5 else conn.wait_tls())
            elif rng.random() < 0.3:
                async with asyncio.timeout(0.1):
                    await conn.wait_closed()


WORLD: World


class Callbacks(penstock.Handler[Any]):
    """Disturbs in each of them."""

    def on_connect(self, conn: Any) -> None:
        WORLD.disturb(conn)

    def on_message(self, conn: Any, message: Any) -> Any:
        WORLD.begin_tls(conn, message)
        WORLD.disturb(conn)
        return message if WORLD.rng.random() < 0.7 else None

    def on_timeout(self, conn: Any, which: Any) -> None:
        WORLD.disturb(conn)

    def on_idle(self, conn: Any) -> bool:
        WORLD.disturb(conn)
        return WORLD.rng.random() < 0.5

    def on_eof(self, conn: Any) -> None:
        WORLD.disturb(conn)

    def on_drain(self, conn: Any) -> None:
        WORLD.disturb(conn)

    def on_protocol_error(self, conn: Any, error: Any) -> None:
        WORLD.disturb(conn)

    def on_bad_message(self, conn: Any, error: Any) -> Any:
        WORLD.disturb(conn)
        return b"bad" if WORLD.rng.random() < 0.5 else None

    def on_close(self, conn: Any, reason: Any) -> None:
        WORLD.disturb(conn)


class AsyncCallbacks(penstock.Handler[Any]):
    """The same, as coroutines."""

    async def on_connect(self, conn: Any) -> None:
        WORLD.disturb(conn)

    async def on_message(self, conn: Any, message: Any) -> Any:
        WORLD.begin_tls(conn, message)
        WORLD.disturb(conn)
        await asyncio.sleep(WORLD.rng.choice((0, 0, 0.01)))
        return message if WORLD.rng.random() < 0.7 else None

    async def on_idle(self, conn: Any) -> bool:
        await asyncio.sleep(WORLD.rng.choice((0, 0.01)))
        WORLD.disturb(conn)
        return WORLD.rng.random() < 0.5

    async def on_timeout(self, conn: Any, which: Any) -> None:
        await asyncio.sleep(WORLD.rng.choice((0, 0.01)))
        WORLD.disturb(conn)

    async def on_eof(self, conn: Any) -> None:
        await asyncio.sleep(WORLD.rng.choice((0, 0.01)))
        WORLD.disturb(conn)

    async def on_drain(self, conn: Any) -> None:
        await asyncio.sleep(WORLD.rng.choice((0, 0.01)))
        WORLD.disturb(conn)

    async def on_protocol_error(self, conn: Any, error: Any) -> None:
        await asyncio.sleep(WORLD.rng.choice((0, 0.01)))
        WORLD.disturb(conn)

    async def on_close(self, conn: Any, reason: Any) -> None:
        await asyncio.sleep(WORLD.rng.choice((0, 0.01)))
        WORLD.disturb(conn)


def handle(conn: Any, message: Any) -> Any:
    """Answer, or disturb."""
    WORLD.begin_tls(conn, message)
    WORLD.disturb(conn)
    return message


async def handle_later(conn: Any, message: Any) -> Any:
    """Answer later."""
    WORLD.begin_tls(conn, message)
    WORLD.disturb(conn)
    await asyncio.sleep(WORLD.rng.choice((0, 0, 0.02)))
    WORLD.disturb(conn)
    return message


async def converse(conn: Any) -> None:
    """Any sequence of calls."""
    for _ in range(WORLD.rng.randrange(30)):
        await WORLD.wait(conn)
        WORLD.disturb(conn)


def converse_in_a_thread(conn: Any) -> None:
    """Any sequence of calls that block."""
    rng = WORLD.rng
    for _ in range(rng.randrange(30)):
        with contextlib.suppress(penstock.PenstockError, TypeError, TimeoutError, EOFError):
            match rng.randrange(4):
                case 0:
                    conn.receive(rng.choice((0.0, 0.05)))
                case 1:
                    conn.send(WORLD.message())
                case 2:
                    time.sleep(rng.choice((0, 0.01)))
        WORLD.disturb(conn)


def service(rng: random.Random, engine: str) -> tuple[Any, str]:
    """Return a handler of any form, and the model it is served by."""
    codec = rng.choice(CODECS[:1] * 3 + CODECS)
    if engine == "blocking":
        made: Any = rng.choice((handle, converse_in_a_thread, Callbacks))
    else:
        made = rng.choice((handle, handle_later, converse, converse, Callbacks, AsyncCallbacks))
    if made in (handle, handle_later):
        threaded = made is handle and engine != "blocking" and rng.random() < 0.3
        return penstock.on_message(codec=codec)(made), "threads" if threaded else "loop"
    if made in (converse, converse_in_a_thread):
        return penstock.on_connection(codec=codec)(made), "loop"
    threaded = made is Callbacks and engine != "blocking" and rng.random() < 0.3
    return penstock.as_service(made, codec=codec), "threads" if threaded else "loop"


# -- the other end -----------------------------------------------------------------------------------------------------


def peers(world: World, port: int, seed: int) -> None:
    """Connect, and misbehave, until there were enough."""
    rng = random.Random(seed)
    peer = Peer(rng, port, world.tls)
    for _ in range(PEERS * 6):
        if world.over.is_set():
            break
        with contextlib.suppress(OSError):
            if len(peer.socks) < PEERS and (not peer.socks or rng.random() < 0.2):
                peer.connect()
            else:
                peer.misbehave()
    peer.close()
    assert world.loop is not None
    world.loop.call_soon_threadsafe(world.enough.set)


def meddle(world: World) -> None:
    """Act from another thread: on an engine of threads at once, else through the loop, as the contract has it."""
    while not world.over.wait(0.002):
        loop = world.loop
        if world.engine == "blocking":
            world.act(world.any_connection())
        elif loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: world.act(world.any_connection()))


# -- one run -----------------------------------------------------------------------------------------------------------


async def serve(world: World, seed: int) -> None:
    """Serve until the peers have had enough, then end in one of the two ways, and see what is left."""
    target, model = service(world.rng, world.engine)
    world.loop = asyncio.get_running_loop()
    name = {"attached": "native", "uvloop": "pure"}.get(world.engine, world.engine)
    server = world.server = penstock.serve(
        target,
        bind={"tls": "tls://127.0.0.1:0", "start": "tcp://127.0.0.1:0?tls=start"}.get(world.tls, "tcp://127.0.0.1:0"),
        engine=name,
        model=model,
        observers=[world],
        timeouts=TIMEOUTS,
        max_connections=PEERS + 8,
        max_per_peer=None,
        max_orphans=4,
        warn_public=False,
        stall_warning=None,
        **({"tls_cert": server_certificate()} if world.tls else {}),
        **({"threads": 64} if name == "blocking" or model == "threads" else {}),
    )
    await server.start()
    port = int(server.addresses[0].partition("?")[0].rpartition(":")[2])
    threads = [
        threading.Thread(target=peers, args=(world, port, seed + 1), daemon=True),
        threading.Thread(target=meddle, args=(world,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.007)
    await world.enough.wait()
    world.over.set()
    signal.setitimer(signal.ITIMER_REAL, 0)
    for thread in threads:
        thread.join(PATIENCE_S)
    if world.rng.random() < 0.5:
        server.begin_drain()
    else:
        server.begin_stop()
    async with asyncio.timeout(HANG_S / 2):
        await server.wait_stopped()
    await asyncio.sleep(0)
    counts = server.gate.counts
    problems = []
    if world.accepted != world.closed or any(count != 1 for count in world.closed.values()):
        problems.append(f"accepted {world.accepted - world.closed}, closed {world.closed - world.accepted}")
    if (counts.open, counts.orphans, counts.handshakes, counts._of_key) != (0, 0, 0, {}):  # noqa: SLF001
        problems.append(f"the gate: {counts.open} open, {counts.orphans} orphans, {counts.handshakes} handshakes")
    if problems:
        raise AssertionError("; ".join(problems))


def census() -> dict[str, int]:
    """Return what a debug build of the native engine counts; nothing elsewhere."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("penstock.engines.native.census").census() or {}
    return {}


def loop_factory(engine: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop that an engine serves in."""
    module = {"native": "penstock.engines.native.engine", "uvloop": "uvloop"}.get(engine)
    if module is None:
        return asyncio.SelectorEventLoop
    made: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(module).new_event_loop
    return made


def eager(make: Callable[[], asyncio.AbstractEventLoop]) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes loops whose tasks begin when they are made, where Python has such."""

    def made() -> asyncio.AbstractEventLoop:
        loop = make()
        if sys.version_info >= (3, 12):
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    return made


def run(seed: int, engine: str, *, ciphered: bool) -> int:
    """Do one run. Return how many connections there were.

    Raises:
        AssertionError: Something that has to hold does not.
    """
    global WORLD
    world = WORLD = World(seed, engine, ciphered=ciphered)
    before = census()

    def strike(_number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code is COMPARES_TIMERS:
            return  # asyncio's heap of timers is half changed: nothing may set a timer there, ours or not
        with contextlib.suppress(Exception):
            world.act(world.any_connection())

    signal.signal(signal.SIGALRM, strike)
    faulthandler.dump_traceback_later(HANG_S, exit=True)
    make = loop_factory(engine)
    if world.rng.random() < 0.3 and engine != "uvloop":  # whose releases go with some patch levels of 3.13 only
        make = eager(make)
    try:
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(serve(world, seed))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    count = len(world.accepted)
    world.live.clear()
    world.server = world.loop = None
    for thread in threading.enumerate():  # what a pool's thread has done last is its own until it has ended
        if thread is not threading.current_thread():
            thread.join(PATIENCE_S)
    for _ in range(3):  # what a coroutine does when it is collected may keep its cycle until the next time
        gc.collect()
    left = {name: number - before.get(name, 0) for name, number in census().items() if number != before.get(name, 0)}
    if left:
        raise AssertionError("\n".join([f"left behind: {left}", *holders()]))
    return count


def holders() -> list[str]:
    """Say what holds the compiled connections that are left, and what holds that."""
    # Some type's module is no string.
    found = [it for it in gc.get_objects() if "native" in str(type(it).__module__) and "Conn" in type(it).__name__]
    lines = []
    for conn in found:
        lines.append(f"{conn!r}:")
        for holder in gc.get_referrers(conn):
            if holder is not found:
                beyond = {type(it).__name__ for it in gc.get_referrers(holder)}
                lines.append(f"  {type(holder).__name__} {str(holder)[:200]} of {sorted(beyond)}")
    return lines


def main() -> None:
    """Run until the time is up, or as often as was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=ENGINES, action="append", help="repeatable; all that are here by default")
    parser.add_argument("--tls", action="store_true", help="speak TLS")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--runs", type=int, default=None)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    threading.excepthook = lambda _: None  # what callbacks raise whose server has given up waiting for them
    faulthandler.enable()
    engines = args.engine or [name for name in ENGINES if is_here(name)]
    seed = random.SystemRandom().randrange(2**31) if args.seed is None else args.seed
    until, runs, connections = time.monotonic() + args.seconds, 0, 0
    print(f"seed {seed}, engines {', '.join(engines)}", flush=True)
    while time.monotonic() < until and (args.runs is None or runs < args.runs):
        engine = engines[runs % len(engines)]
        try:
            connections += run(seed + runs, engine, ciphered=args.tls)
        except BaseException as error:
            options = f"--engine {engine}{' --tls' if args.tls else ''} --seed {seed + runs} --runs 1"
            print(f"failed: {options}: {error!r}", flush=True)
            raise
        runs += 1
    print(f"{runs} runs, {connections} connections", flush=True)


def is_here(engine: str) -> bool:
    """Whether an engine can be had on this machine."""
    try:
        loop_factory(engine)
        if engine == "attached":
            loop_factory("native")
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
