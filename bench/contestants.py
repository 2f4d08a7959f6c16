"""What is measured: how each server or client is started, and what it needs to run here."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import build
from .build import UnavailableError
from .process import ALLOCATOR

HERE = Path(__file__).parent
# The pure engine is compared with asyncio: it must not be given uvloop, which `penstock.run` takes where it is there.
LOOPS = {"native": "own", "pure": "asyncio", "blocking": "own"}
VENV = HERE.parent / ".venv-bench/bin/python"


@dataclass(frozen=True)
class Interpreters:
    """Penstock runs in the interpreter the bench runs in; the Python competitors in one that has them installed."""

    penstock: str = sys.executable
    competitors: str = str(VENV) if VENV.exists() else sys.executable


@functools.cache
def versions(python: str) -> Mapping[str, str]:
    """Return the version of ``python`` and of each distribution installed for it, by lower-case name."""
    script = (
        "import json, platform, importlib.metadata as m; "
        "d = {x.name.lower(): x.version for x in m.distributions()}; "
        "print(json.dumps(d | {'python': platform.python_version()}))"
    )
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(done.stdout)
    return found


Argv = list[str | Path]


@dataclass(frozen=True)
class Contestant:
    """One program: a server, or a client, whose "framing" is ``request``.

    Attributes:
        key: Its name in raw data, on the command line and in the rows.
        title: Its name in tables.
        argv: From interpreters and framing to the command, without the port; builds what must be built.
        framings: What it can frame; "any" for one that never looks.
        distribution: What must be installed for its interpreter.
        environment: What is set for it.
        ours: Penstock, or what it is compared with.
    """

    key: str
    title: str
    argv: Callable[[Interpreters, str], Argv]
    framings: frozenset[str] = frozenset({"lines"})
    distribution: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: ALLOCATOR)
    ours: bool = False

    def command(self, interpreters: Interpreters, framing: str, port: int = 0) -> Argv:
        """Return what to start: a server on any free port, or a client of the server on ``port``.

        Raises:
            UnavailableError: It cannot run here; the text says why.
        """
        if framing not in self.framings and "any" not in self.framings:
            raise UnavailableError(f"has no {framing} framing")
        if self.distribution and self.distribution not in versions(interpreters.competitors):
            raise UnavailableError(f"{self.distribution} is not installed")
        return [*self.argv(interpreters, framing), "--port", str(port)]


def _competitor(script: str, *options: str) -> Callable[[Interpreters, str], Argv]:
    return lambda pythons, framing: [
        pythons.competitors,
        HERE / "competitors" / script,
        "--framing",
        framing,
        *options,
    ]


def _penstock(
    engine: str, handler: str, *, loop: str | None = None, limits: str = "default"
) -> Callable[[Interpreters, str], Argv]:
    return lambda pythons, framing: [
        pythons.penstock,
        HERE / "servers/penstock_echo.py",
        *("--engine", engine, "--handler", handler, "--codec", framing, "--loop", loop or LOOPS[engine]),
        *("--limits", limits),
    ]


def _waiting(wait: str) -> Iterator[Contestant]:
    """What waits before it answers: Penstock's handlers, and a Protocol with tasks."""
    for engine in ("native", "pure"):
        yield Contestant(f"penstock-{engine}-{wait}", f"Penstock {engine}, async def message handler",
                         lambda pythons, framing, engine=engine: [
                             pythons.penstock, HERE / "servers/penstock_waiting.py", "--engine", engine,
                             "--codec", framing, "--loop", LOOPS[engine], "--wait", wait,
                         ], ours=True)  # fmt: skip
    for loop in ("asyncio", "uvloop"):
        yield Contestant(f"{loop}-tasks-{wait}", f"{loop}, hand-written Protocol and a task",
                         _competitor("asyncio_tasks.py", f"--loop={loop}", f"--wait={wait}"),
                         distribution="uvloop" if loop == "uvloop" else None)  # fmt: skip


def _adopted(engine: str, style: str) -> Callable[[Interpreters, str], Argv]:
    return lambda pythons, framing: [
        pythons.penstock,
        HERE / "servers/penstock_adopted.py",
        *("--engine", engine, "--style", style, "--codec", framing, "--loop", LOOPS[engine]),
    ]


def _limited(base: str, title: str, engine: str, handler: str) -> Iterator[Contestant]:
    for limits in ("on", "off"):
        yield Contestant(f"{base}-limits-{limits}", f"{title}, limits {limits}",
                         _penstock(engine, handler, limits=limits), EVERY, ours=True)  # fmt: skip


def _kv(engine: str) -> Callable[[Interpreters, str], Argv]:
    return lambda pythons, _: [
        pythons.penstock,
        HERE / "servers/penstock_kv.py",
        *("--engine", engine, "--loop", LOOPS[engine]),
    ]


def _redis(_: Interpreters, __: str) -> Argv:
    if shutil.which("redis-server") is None:
        raise UnavailableError("redis-server is not installed")
    return [sys.executable, HERE / "servers/redis_ready.py"]


def _client(script: str, loop: str | None = None, *, ours: bool = False) -> Callable[[Interpreters, str], Argv]:
    return lambda pythons, _: [
        pythons.penstock if ours else pythons.competitors,
        HERE / "competitors" / script,
        *(("--loop", loop) if loop else ()),
    ]


EVERY = frozenset({"lines", "raw", "length-prefixed"})
RESP = frozenset({"resp"})
REQUEST = frozenset({"request"})

CONTESTANTS = (
    Contestant("c-epoll-raw", "C epoll, no framing", lambda _, __: [build.epoll_echo(), "--framing", "raw"],
               frozenset({"any"})),
    Contestant("c-epoll", "C epoll, framing", lambda _, framing: [build.epoll_echo(), "--framing", framing],
               frozenset({"lines", "length-prefixed"})),
    Contestant("c-tls-raw", "C epoll, SSL_read and SSL_write, no framing",
               lambda _, __: [build.epoll_echo_tls(), "--framing", "raw"], frozenset({"any"})),
    Contestant("c-tls", "C epoll, SSL_read and SSL_write, framing",
               lambda _, framing: [build.epoll_echo_tls(), "--framing", framing],
               frozenset({"lines", "length-prefixed"})),
    Contestant("tokio", "Tokio, one thread", lambda _, __: [build.tokio_echo()]),
    Contestant("go", "Go net, GOMAXPROCS=1", lambda _, __: [build.go_echo()], environment={"GOMAXPROCS": "1"}),
    Contestant("penstock-native", "Penstock native, def handler", _penstock("native", "def-message"), EVERY, ours=True),
    Contestant("penstock-native-async", "Penstock native, async def message handler",
               _penstock("native", "async-message"), EVERY, ours=True),
    Contestant("penstock-native-connection", "Penstock native, connection handler",
               _penstock("native", "connection"), EVERY, ours=True),
    Contestant("penstock-native-callbacks", "Penstock native, Handler class", _penstock("native", "callbacks"), EVERY,
               ours=True),
    Contestant("penstock-pure", "Penstock pure, def handler", _penstock("pure", "def-message"), EVERY, ours=True),
    Contestant("penstock-pure-async", "Penstock pure, async def message handler", _penstock("pure", "async-message"),
               EVERY, ours=True),
    Contestant("penstock-pure-connection", "Penstock pure, connection handler", _penstock("pure", "connection"), EVERY,
               ours=True),
    Contestant("penstock-pure-uvloop", "Penstock pure on uvloop, def handler",
               _penstock("pure", "def-message", loop="uvloop"), EVERY, ours=True),
    Contestant("penstock-pure-default-malloc", "Penstock pure, allocator untouched", _penstock("pure", "def-message"),
               EVERY, environment={}, ours=True),
    Contestant("penstock-blocking", "Penstock blocking, def connection handler",
               _penstock("blocking", "blocking-connection"), EVERY, ours=True),
    Contestant("uvloop-protocol", "uvloop, hand-written Protocol", _competitor("asyncio_protocol.py", "--loop=uvloop"),
               EVERY, "uvloop"),
    Contestant("uvloop-streams", "uvloop, streams", _competitor("asyncio_streams.py", "--loop=uvloop"), EVERY,
               "uvloop"),
    *(
        Contestant(f"aiofastnet-{loop}-{style}", f"aiofastnet on {loop}, {title}",
                   _competitor(f"asyncio_{style}.py", f"--loop={'aiofastnet' + suffix}"), EVERY, "aiofastnet")
        for loop, suffix in (("asyncio", ""), ("uvloop", "-uvloop"))
        for style, title in (("protocol", "hand-written Protocol"), ("streams", "streams"))
    ),
    Contestant("asyncio-protocol", "asyncio, hand-written Protocol", _competitor("asyncio_protocol.py"), EVERY),
    Contestant("asyncio-protocol-default-malloc", "asyncio Protocol, allocator untouched",
               _competitor("asyncio_protocol.py"), EVERY, environment={}),
    Contestant("asyncio-streams", "asyncio, streams", _competitor("asyncio_streams.py"), EVERY),
    Contestant("threads", "socketserver.ThreadingTCPServer", _competitor("threading_server.py")),
    Contestant("gevent", "gevent StreamServer", _competitor("gevent_lines.py"), distribution="gevent"),
    Contestant("twisted", "Twisted LineReceiver", _competitor("twisted_lines.py"), distribution="twisted"),
    Contestant("trio", "trio", _competitor("trio_lines.py"), distribution="trio"),
    Contestant("anyio", "anyio on asyncio", _competitor("anyio_lines.py"), distribution="anyio"),
    Contestant("easynetwork", "EasyNetwork on asyncio", _competitor("easynetwork_lines.py"),
               distribution="easynetwork"),
    *(
        Contestant(f"adopted-{engine}-{style}", f"Penstock {engine}, {title}", _adopted(engine, style), EVERY,
                   ours=True)
        for engine in ("native", "pure")
        for style, title in (("protocol", "the hand-written Protocol"), ("streams", "the callback of streams"))
    ),
    *(contestant for wait in ("done", "turn", "executor") for contestant in _waiting(wait)),
    *_limited("penstock-native", "Penstock native, def handler", "native", "def-message"),
    *_limited("penstock-native-async", "Penstock native, async def message handler", "native", "async-message"),
    *_limited("penstock-native-connection", "Penstock native, connection handler", "native", "connection"),
    *_limited("penstock-pure", "Penstock pure, def handler", "pure", "def-message"),
    *_limited("penstock-pure-connection", "Penstock pure, connection handler", "pure", "connection"),
    Contestant("redis", "redis-server", _redis, RESP),
    Contestant("kv-native", "Penstock native, examples/kv.py", _kv("native"), RESP, ours=True),
    Contestant("kv-pure", "Penstock pure, examples/kv.py", _kv("pure"), RESP, ours=True),
    Contestant("client-socket", "socket and makefile", _client("client_socket.py"), REQUEST),
    Contestant("client-sync", "penstock.connect_sync", _client("client_penstock.py", "none", ours=True), REQUEST,
               ours=True),
    Contestant("client-uvloop-streams", "uvloop, streams: client", _client("client_streams.py", "uvloop"), REQUEST,
               "uvloop"),
    Contestant("client-asyncio-streams", "asyncio, streams: client", _client("client_streams.py", "asyncio"), REQUEST),
    Contestant("client-native", "penstock.connect, native engine",
               _client("client_penstock.py", "native", ours=True), REQUEST, ours=True),
    Contestant("client-uvloop", "penstock.connect on uvloop", _client("client_penstock.py", "uvloop", ours=True),
               REQUEST, ours=True),
    Contestant("client-asyncio", "penstock.connect on asyncio", _client("client_penstock.py", "asyncio", ours=True),
               REQUEST, ours=True),
)  # fmt: skip

BY_KEY = {contestant.key: contestant for contestant in CONTESTANTS}
