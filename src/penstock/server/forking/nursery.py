"""The process from which those of connections are forked: it has no loop, no threads and no connection of its own."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...address import parse_address
from ...config import ServerConfig, TlsConfig
from ...core.service import Service
from ...errors import ConfigurationError, ExitStatus, LimitError, TlsMaterialError
from ..identity import identity_of
from ..inherited import inherited_listeners
from ..surroundings import settle_in
from .messages import (
    Assume,
    Began,
    End,
    Ended,
    NotBegun,
    Secure,
    Secured,
    Serve,
    received_by_nursery,
    received_by_server,
    send,
)

if TYPE_CHECKING:
    import asyncio

    from ...engines.listener import Listener
    from ...engines.plan import Plan
    from ..tls import ServerTls
    from .server import ForkingServer

_logger: Final = logging.getLogger("penstock")

# What a terminal or a service manager sends to all processes at once is the server's to carry out: it tells these.
_NOT_FOR_THESE: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_READY: Final = b"1"

# To the process of a connection: end in order, and at once.
DRAIN: Final = signal.SIGTERM
STOP: Final = signal.SIGUSR1 if hasattr(signal, "SIGUSR1") else signal.SIGTERM
TO_PROCESSES: Final = frozenset({DRAIN, STOP})

# When the server is gone its connections drain, as long as is configured, or so long where that is not known here. A
# process that has not ended then is killed after so long more, and looked for so often.
DRAIN_S: Final = 25.0
CUT_S: Final = 5.0
LOOK_MS: Final = 500


@dataclass(frozen=True, slots=True)
class Brood:
    """What the processes of connections serve.

    Attributes:
        service: The service.
        config: How the server is configured.
        logging: Sets up the log of a process, and writes out what is left at its end.
    """

    service: Service[Any]
    config: ServerConfig
    logging: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext


class Nursery:
    """The nursery, as the server has it.

    Args:
        sock: To it.
        reports: From the processes of connections.
        pid: Its process.

    Attributes:
        is_lost: Whether it has ended before the server.
    """

    def __init__(self, sock: socket.socket, reports: socket.socket, pid: int) -> None:
        self.sock = sock
        self.reports = reports
        self.pid = pid
        self.is_lost = False
        self._at_work: ForkingServer | None = None

    @classmethod
    def begin(cls, load: Callable[[], Brood], *, bind: Iterable[str] = (), channel: int | None = None) -> Nursery:
        """Fork it, before this process has a loop, threads or connections.

        What a program has open stays open: its files, its log and its sockets are those of every process.

        Args:
            load: Returns what is served. Where that starts threads, as the import of a module may, each connection's
                process calls it for itself: what is forked has none.
            bind: Where the server will listen: what it was handed down is its own.
            channel: The descriptor by which a worker speaks with its supervisor; None where there is none.

        Raises:
            ConfigurationError: This system has no fork(2), or no packets over Unix sockets.
            LimitError: It gives no process.
        """
        if not hasattr(os, "fork") or not hasattr(socket, "SOCK_SEQPACKET"):
            raise ConfigurationError("processes for connections need a Unix system with sockets of packets", "model")
        if (threads := _threads()) > 1:
            _logger.warning(
                "%d threads run here, and none of them will in the processes of connections: start them later, or "
                "serve with `penstock serve`, which forks before it imports",
                threads - 1,
            )
        servers = [*_handed_down(bind), *([] if channel is None else [channel])]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The processes of connections have one of their own, and not that of the nursery: the end of each shows.
        hears, reports = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = _fork()
        if pid:
            theirs.close()
            reports.close()
            return cls(ours, hears, pid)
        try:
            ours.close()
            hears.close()
            _let_go(servers)
            _Process(theirs, reports, load).run()
        except BaseException:  # what is wrong with the code, the server meets as well, and says
            os._exit(ExitStatus.FAILED)
        os._exit(ExitStatus.OK)

    def serve(self, loop: asyncio.AbstractEventLoop, listeners: Sequence[Listener], plan: Plan) -> ForkingServer:
        """Prepare to serve, as an engine does."""
        from .server import ForkingServer  # noqa: PLC0415 - few servers fork

        self._at_work = ForkingServer(loop, listeners, plan, self)
        return self._at_work

    def secure(self, tls: TlsConfig) -> None:
        """Before it serves: have it read these files, which were read here. What came of it, `secured` tells."""
        send(self.sock, Secure(tls))

    async def secured(self) -> None:
        """Wait until it can speak TLS, as `secure` has told it: before that there is no connection.

        Raises:
            TlsMaterialError: It cannot: a file has changed since it was read here.
        """
        import asyncio  # noqa: PLC0415 - the nursery itself has no loop

        loop = asyncio.get_running_loop()
        heard: asyncio.Future[None] = loop.create_future()

        def hear() -> None:
            if not heard.done():
                heard.set_result(None)

        loop.add_reader(self.sock, hear)
        try:
            await heard
        finally:
            loop.remove_reader(self.sock)
        answer = None
        with contextlib.suppress(OSError):  # it is gone: the server that begins now meets that, and has no connection
            answer = received_by_server(self.sock)
        if isinstance(answer, Secured) and answer.problem:
            raise TlsMaterialError(answer.problem)

    async def exchange(self, tls: TlsConfig) -> None:
        """While it serves: have it speak TLS with these files, for connections from now on.

        Raises:
            TlsMaterialError: It cannot, and goes on with what it had.
        """
        assert self._at_work is not None, "it does not serve"
        await self._at_work.exchange(tls)

    def assume(self) -> None:
        """Have it give up the rights that this process gives up."""
        send(self.sock, Assume())

    def close(self) -> None:
        """End it, once its processes have ended. May be repeated."""
        if self.sock.fileno() >= 0:
            self.sock.close()
            self.reports.close()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


def _fork() -> int:
    try:
        return os.fork()
    except OSError as error:
        raise LimitError(f"the system gives no process: {error.strerror}") from error


def _handed_down(bind: Iterable[str]) -> list[int]:
    """Return the sockets that this process was started with, to listen on. Whether they are right, the server says."""
    numbers: set[int] = set()
    with contextlib.suppress(ConfigurationError):
        numbers.update(fd for text in bind if isinstance(fd := parse_address(text).fd, int))
        numbers.update(each.fd for each in inherited_listeners(dict(os.environ), os.getpid()))
    return [number for number in numbers if _is_socket(number)]


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _let_go(descriptors: Iterable[int]) -> None:
    """Give up what is the server's: a process that had it would keep it open.

    The numbers stay taken, by what is nothing: an object that has one of them would else write to what gets it next.
    """
    with open(os.devnull, "r+b", buffering=0) as nothing:
        for descriptor in descriptors:
            os.dup2(nothing.fileno(), descriptor, inheritable=False)


def _threads() -> int:
    """Return how many threads this process has, those of C libraries among them."""
    import threading  # noqa: PLC0415

    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return threading.active_count()


class _Process:
    """The nursery itself.

    Args:
        sock: To the server.
        reports: The same for the processes of connections.
        load: As of `Nursery.begin`.
    """

    def __init__(self, sock: socket.socket, reports: socket.socket, load: Callable[[], Brood]) -> None:
        self._sock = sock
        self._reports = reports
        self._load = load
        self._brood: Brood | None = None  # None where each process loads it for itself
        self._children: dict[int, int] = {}  # by process: the connection
        self._by_connection: dict[int, int] = {}
        self._assumes = False
        self._tls: ServerTls | None = None
        self._kills_at: float | None = None  # once the server is gone: when what is left of it is killed

    def run(self) -> None:
        """Fork whenever that is asked for, until the server is gone and every process has ended."""
        for name in _NOT_FOR_THESE:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        # What a process is told before it can hear waits until it does: signal(7) drops nothing that is blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, TO_PROCESSES)
        if not self._try_to_load():
            return
        reads, writes = os.pipe()
        os.set_blocking(reads, False)
        os.set_blocking(writes, False)
        signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(reads, select.POLLIN)
        is_open = True
        while is_open or self._children:
            for descriptor, _ in poll.poll(None if self._kills_at is None else LOOK_MS):
                if descriptor == reads:
                    with contextlib.suppress(BlockingIOError):
                        os.read(reads, 4096)
                elif not self._hear():
                    is_open = False
                    poll.unregister(self._sock)
                    self._signal_all(DRAIN)
                    drain_s = DRAIN_S if self._brood is None else self._brood.config.timeouts.drain_s
                    self._kills_at = None if drain_s is None else time.monotonic() + drain_s + CUT_S
            if self._kills_at is not None and time.monotonic() >= self._kills_at:
                self._signal_all(signal.SIGKILL)
            self._reap()

    def _signal_all(self, number: int) -> None:
        for child in self._children:
            os.kill(child, number)

    def _try_to_load(self) -> bool:
        """Load in a process of its own, which goes on where that has started no thread; else this one does, without.

        Returns:
            False in the process that is not needed any more.
        """
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reads)
            self._brood = self._load()
            if _threads() > 1:
                os.write(writes, b"0")
                os._exit(ExitStatus.OK)
            from .child import prepare  # noqa: PLC0415 - that module knows this one

            prepare(self._brood)
            gc.freeze()  # what is there is not written to by the collector: pages stay shared
            os.write(writes, _READY)
            os.close(writes)
            return True
        os.close(writes)
        said = os.read(reads, 1)
        os.close(reads)
        if said == _READY:
            self._sock.close()
            self._reports.close()
            os.waitpid(child, 0)
            return False
        _, status = os.waitpid(child, 0)
        if not said:
            os._exit(os.waitstatus_to_exitcode(status))
        return True

    def _hear(self) -> bool:
        found = received_by_nursery(self._sock)
        if found is None:
            return False
        message, descriptors = found
        match message:
            case Serve():
                self._serve(message, descriptors[0])
            case End():
                child = self._by_connection.get(message.id)
                if child is not None:
                    os.kill(child, message.signal)
            case Secure():
                send(self._sock, Secured(problem=self._secure(message.tls)))
            case Assume():
                self._assumes = True
                if self._brood is not None:
                    self._settle(self._brood.config)
        return True

    def _secure(self, tls: TlsConfig) -> str:
        """Read the files of certificates. Return why they are not used: the server read them earlier."""
        from ..tls import ServerTls  # noqa: PLC0415 - few speak TLS

        try:
            self._tls = ServerTls(tls)
        except Exception as error:  # whatever it is, what was there stays, and the server knows
            return str(error) or type(error).__name__
        return ""

    def _settle(self, config: ServerConfig) -> None:
        identity = identity_of(config.process)
        settle_in(config.process)
        if self._assumes and identity is not None:
            identity.assume()

    def _serve(self, asked: Serve, descriptor: int) -> None:
        nursery = os.getpid()
        with socket.socket(fileno=descriptor) as sock:
            if self._tls is None and parse_address(asked.requested or asked.address).may_be_tls:
                send(self._sock, NotBegun(id=asked.id, problem="there is no certificate to speak TLS with"))
                return
            try:
                child = os.fork()
            except OSError as error:
                send(self._sock, NotBegun(id=asked.id, problem=error.strerror or str(error)))
                return
            if child == 0:
                self._serve_in_child(asked, sock, nursery)
        self._children[child] = asked.id
        self._by_connection[asked.id] = child
        send(self._sock, Began(id=asked.id, pid=child))

    def _serve_in_child(self, asked: Serve, sock: socket.socket, nursery: int) -> None:
        status = ExitStatus.FAILED
        try:
            self._sock.close()
            from .child import serve_one  # noqa: PLC0415

            brood = self._brood
            if brood is None:
                brood = self._load()
                self._settle(brood.config)
            with brood.logging():
                try:
                    serve_one(brood, asked, sock, self._reports, nursery, tls=self._tls)
                except Exception:
                    _logger.exception("the process of connection %d failed", asked.id)
                else:
                    status = ExitStatus.OK
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            connection = self._children.pop(child, None)
            if connection is not None:
                del self._by_connection[connection]
                with contextlib.suppress(OSError):  # the server is gone
                    send(self._sock, Ended(id=connection, status=os.waitstatus_to_exitcode(status)))
