"""A worker's own side: what it is told by its supervisor, and what it says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .. import errors
from ..address import Address, Scheme, parse_address
from ..config import LogLevel, WorkersConfig
from ..config.files import Document, parsed
from ..core.shared_counts import SharedCounts
from ..engines.listener import Listener
from ..engines.wire import number_connections_from
from ..errors import ConfigurationError, ExitStatus, StoppedError
from ..groups import elsewhere
from ..reasons import CloseReason
from ..server.inherited import InheritedSocket
from ..server.last_resort import LastResort
from ..server.life import Life
from ..server.memory import resident_bytes
from ..server.repeated import Repeated
from ..server.server import Server
from . import VARIABLE, WAITS
from .cells import WorkerMemory
from .channel import Channel
from .mesh.keys import SERVICE as KEYS_SERVICE
from .mesh.keys import SharedKeys
from .mesh.mesh import Mesh
from .messages import (
    VERSION,
    Answered,
    Apart,
    Ask,
    Beat,
    Begin,
    Count,
    Counted,
    Drain,
    FromSupervisor,
    Gone,
    HandedOver,
    HandOver,
    Introduced,
    Leaving,
    Meet,
    NotOpened,
    Open,
    Opened,
    OpenedSocket,
    Parted,
    Peer,
    Ready,
    Stop,
    TakeOver,
    Waits,
)

if TYPE_CHECKING:
    from ..control.process import ProcessControl
    from .handing import Arrivals, Departure

_logger: Final = logging.getLogger("penstock")

# So often, and at least four times in what a worker may be silent, it gives a sign of life.
BEAT_S: Final = 1.0

# Connections are numbered by the process that has accepted them, and keep their number in another one.
CONNECTIONS_OF_EACH: Final = 10**11

# How long a worker that is to take connections over waits until the others send it what they publish. Connections are
# held meanwhile, and the worker before waits for `handing.ANSWER_S`: another worker that is stuck must not use that up.
ACQUAINTED_S: Final = 1.0

# Each worker's own bounds are up to this much higher than what is configured.
JITTER: Final = 0.1

_PR_SET_PDEATHSIG: Final = 1  # from linux/prctl.h

# Sent by the kernel when the supervisor is gone: for each of its threads once, so that it can be none of those that
# end a server when they come twice.
ORPHANED: Final = signal.SIGUSR2

# After the deadline of the drain, an orphan whose loop is held is ended by force: nobody else would.
CUT_S: Final = 5.0


class Member:
    """This process as one of the workers of a supervisor.

    Args:
        channel: To the supervisor.
        begin: What that said first.

    Attributes:
        begin_message: The same.
        document: The configuration file of its generation; None for none.
        workers: How many of them there are to be.
        counts_together: Whether the limits of the gate are those of all of them.
        is_first: Whether its slot is the first one, which there is always.
        inherited: The sockets that were handed down to the supervisor.
        banner: What a person is told when it serves; set before `ready`.
        facts: The same for programs.
        set_level: Has the log written from a level on; False where that is not this process's to say.
    """

    def __init__(self, channel: Channel[FromSupervisor], begin: Begin) -> None:
        self.begin_message = begin
        file = begin.file
        self.document: Document | None = (
            None if file is None else parsed(Path(file.path), Path(file.directory), file.text)
        )
        self.workers = begin.workers
        self.counts_together = begin.counts_together
        self.is_first = begin.slot == 1
        self.inherited: Sequence[InheritedSocket] = [InheritedSocket(fd, name) for fd, name in begin.inherited]
        self.banner = ""
        self.facts: Mapping[str, Any] = {}
        self._channel = channel
        self._life: Life | None = None
        self._servers: Sequence[Server] = ()
        self._bounds: dict[str, float] = {}
        self._asked: list[asyncio.Future[Any]] = []
        self._memories: list[WorkerMemory] = []
        self._closes: set[tuple[str, str]] = set()  # what its successor does not listen on
        self._keys: dict[str, set[tuple[str, str]]] = {}  # what each service listens on
        self._own: set[int] = set()  # the descriptors of listeners that no other worker has
        self._beat: Repeated | None = None
        self._began_at = 0.0
        self._is_leaving = self._is_orphaned = False
        self._arrivals: Arrivals | None = None  # of the worker before
        self._takes_over = False  # while its connections come
        self._departure: Departure | None = None
        self._departs: socket.socket | None = None  # to the successor, once none come any more
        self._left = 0  # how many connections did not move
        self._control: ProcessControl | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self.set_level: Callable[[LogLevel], bool] = lambda _: False
        self._last_resort: LastResort | None = None
        self._mesh: Mesh | None = None  # the other workers
        self._introduction: asyncio.Task[None] | None = None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], engine: str = "auto") -> Member | None:
        """Return what this process is a worker as; None when it is none.

        A spare one imports what every worker needs, says so, and waits until it is told which worker it is.

        Args:
            environ: What names the channel, and says whether it is a spare one. That is removed from it.
            engine: What is asked for, as far as that is known already.

        Raises:
            ConfigurationError: The supervisor is of another version.
            StoppedError: The supervisor is gone.
        """
        text, is_spare = environ.pop(VARIABLE, None), environ.pop(WAITS, None) is not None
        if text is None or not text.isdecimal():
            return None
        sock = socket.socket(fileno=int(text))
        os.set_inheritable(sock.fileno(), False)
        _end_with_parent()
        # The Ctrl-C of a terminal is for the supervisor, which tells its workers. The others are taken over while this
        # worker serves; one that comes before that, or after, ends nothing.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(ORPHANED, _end_unborn)
        channel: Channel[FromSupervisor] = Channel(sock, FromSupervisor)
        if is_spare:
            from .ahead import import_ahead  # noqa: PLC0415 - others import as they go

            import_ahead(engine)
            channel.send(Waits())
        found = channel.receive()
        if found is None:
            if is_spare:
                _end_unborn()
            raise StoppedError("the supervisor is gone")
        begin, _ = found
        assert isinstance(begin, Begin)
        if begin.version != VERSION:
            raise ConfigurationError(
                f"the supervisor is of another version of penstock, with messages of version {begin.version} and not "
                f"{VERSION}: restart it"
            )
        return cls(channel, begin)

    def fileno(self) -> int:
        """Return the descriptor by which it speaks with the supervisor."""
        return self._channel.fileno()

    @property
    def warns(self) -> bool:
        """Whether it is the one that says what is doubtful."""
        return self.begin_message.warns

    # -- Supervision ---------------------------------------------------------------------------------------------------

    def begin(self, life: Life, servers: Sequence[Server]) -> None:
        """The loop runs, and nothing has begun yet: from now on the supervisor is heard."""
        self._life, self._servers = life, servers
        loop = asyncio.get_running_loop()
        number_connections_from(self.begin_message.number * CONNECTIONS_OF_EACH)
        self._began_at = loop.time()
        drain_s = self._drain_s
        if drain_s is not None:
            log_format = servers[0].config.log_format
            self._last_resort = LastResort(
                lambda: ExitStatus.DRAIN_TIMEOUT, log_format=log_format, after_s=drain_s + CUT_S
            )
        supervisor = os.getppid()

        def hear_end(_number: int, _frame: object) -> None:
            if os.getppid() != supervisor:
                if self._last_resort is not None:
                    self._last_resort.arm()
                loop.call_soon_threadsafe(self._orphaned)

        signal.signal(ORPHANED, hear_end)
        self._channel.attach(loop, self._heard, self._orphaned)
        silence_s = self.begin_message.silence_s
        every_s = BEAT_S if silence_s is None else min(BEAT_S, silence_s / 4)
        self._beat = Repeated(loop, every_s, partial(self._live, loop))
        self._beat.begin()

    async def introduced(self) -> None:
        """As of `Supervision`."""
        if self.begin_message.introduces:
            if self._introduction is None:
                self._introduction = asyncio.get_running_loop().create_task(self._introduce(), name="penstock-mesh")
            await asyncio.shield(self._introduction)

    async def listeners(
        self,
        service: str,
        addresses: Sequence[Address],
        *,
        backlog: int,
        reuse_address: bool,
        uds_mode: int,
        uds_owner: tuple[int, int] | None,
        inherited: Sequence[InheritedSocket],
    ) -> list[Listener]:
        """Return this worker's listeners on the addresses, which the supervisor has opened and keeps.

        Raises:
            ConfigurationError, BindError: As `open_listeners`.
        """
        await self.introduced()
        self._keys[service] = {(service, str(address)) for address in addresses}
        answer = self._ask()
        self._channel.send(
            Open(
                number=len(self._asked) - 1,
                service=service,
                addresses=[str(address) for address in addresses],
                backlog=backlog,
                reuse_address=reuse_address,
                uds_mode=uds_mode,
                uds_owner=uds_owner,
                inherited=[(each.fd, each.name) for each in inherited],
            )
        )
        found: list[Listener] = await answer
        return found

    async def counts(self, service: str, most_here: int | None, woken: Callable[[], object]) -> SharedCounts | None:
        """Return what this worker counts together with the others; None where each counts by itself."""
        if not self.counts_together:
            return None
        memory, _ = await self._memory(service)
        return SharedCounts(memory, most_here, woken)

    async def _memory(self, service: str) -> tuple[WorkerMemory, int]:
        """Return memory that the workers share, and which cell of it is this one's."""
        answer = self._ask()
        self._channel.send(Count(number=len(self._asked) - 1, service=service))
        descriptors, cell = await answer
        self._memories.append(WorkerMemory(descriptors, cell, asyncio.get_running_loop()))
        return self._memories[-1], cell

    async def _introduce(self) -> None:
        """Get to know the other workers, whose members and keys this one's groups and registries have, too."""
        keys = SharedKeys(*await self._memory(KEYS_SERVICE)) if self.counts_together else None
        worker, slot = self.begin_message.number, self.begin_message.slot
        self._mesh = Mesh(
            worker,
            slot,
            {server.service.name: server.service.codec for server in self._servers},
            keys,
            takes_over=any(server.service.handler.handover for server in self._servers),
            parted=lambda peer: self._channel.send(Apart(worker=worker, peer=peer)),
        )
        answer = self._ask()
        self._channel.send(Meet(number=len(self._asked) - 1, worker=worker))
        await answer
        await self._mesh.acquainted()
        elsewhere.set_current(self._mesh)

    def _ask(self) -> asyncio.Future[Any]:
        """Return what the answer to the next question is told to; its number is that of the last one asked."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        return answer

    def ready(self) -> None:
        """It serves."""
        assert self._life is not None
        _end_with_parent()  # once more: who becomes another user is not told any more
        if self._mesh is not None and not self._handover:
            self._mesh.settle()
        config = self._servers[0].config.supervisor
        self._bounds = _own_bounds(config)
        self._channel.send(
            Ready(
                name=str(self.facts.get("application") or self._servers[0].service.name),
                addresses=list(self._life.addresses),
                banner=self.banner,
                facts=dict(self.facts),
                drain_s=self._drain_s,
                handover=self._handover,
            )
        )

    @property
    def _handover(self) -> int:
        """The format in which connections are handed over; 0: none of any of its services are."""
        if all(server.mover is None for server in self._servers):
            return 0
        from ..core.handover.snapshot import FORMAT  # noqa: PLC0415 - few servers hand anything over

        return FORMAT

    @property
    def _drain_s(self) -> float | None:
        """How long a drain may take; None for ever."""
        timeouts = [server.config.timeouts.drain_s for server in self._servers]
        known = [float(timeout_s) for timeout_s in timeouts if timeout_s is not None]
        return max(known) if len(known) == len(timeouts) else None

    def told_to_end(self) -> None:
        """It was told to end by somebody else than the supervisor, and begins to."""
        self._channel.send(Leaving(why="told"))

    async def end(self) -> None:
        """It has ended. What it has said to other workers is written, as far as they read."""
        if self._beat is not None:
            self._beat.stop()
        signal.signal(ORPHANED, signal.SIG_IGN)
        if self._last_resort is not None:
            self._last_resort.disarm()
        if self._introduction is not None:
            self._introduction.cancel()
        elsewhere.set_current(None)
        try:
            if self._mesh is not None:
                await self._mesh.leave()
        finally:
            self._close()

    def _close(self) -> None:
        if self._mesh is not None:
            self._mesh.close()
        for memory in self._memories:
            memory.close()
        if self._departure is not None:
            cut = min(self._left, sum(server.cut_off for server in self._servers))
            self._channel.send(Parted(moved=self._departure.moved, drained=self._left - cut, cut=cut))
        self._channel.close()

    # -- what the supervisor says --------------------------------------------------------------------------------------

    def _heard(self, message: FromSupervisor, descriptors: list[int]) -> None:
        assert self._life is not None
        match message:
            case Opened():
                self._own |= {fd for each, fd in zip(message.listeners, descriptors, strict=True) if each.is_own}
                self._asked[message.number].set_result(_listeners(message.listeners, descriptors))
            case Counted():
                self._asked[message.number].set_result((descriptors, message.cell))
            case NotOpened():
                self._asked[message.number].set_exception(getattr(errors, message.error)(*message.arguments))
            case Peer():
                peer = socket.socket(fileno=descriptors[0])
                if self._mesh is None:
                    peer.close()
                else:
                    self._mesh.add(peer, message.worker, message.slot)
            case Gone():
                if self._mesh is not None:
                    self._mesh.gone(message.worker)
            case Introduced():
                self._asked[message.number].set_result(None)
            case TakeOver():
                self._takes_over = True
                if self._mesh is not None:
                    self._mesh.is_taking_over = True
                work = self._take_over(socket.socket(fileno=descriptors[0]))
                task = asyncio.get_running_loop().create_task(work, name="penstock-handover")
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case HandOver():
                self._departs = socket.socket(fileno=descriptors[0])
                self._closes = set(message.closes)
                self._hand_over()
            case Drain():
                self._closes |= set(message.closes)
                self._drain(last=message.last, closes_own=message.closes_own)
            case Stop():
                self._life.begin_stop()
            case Ask():
                task = asyncio.get_running_loop().create_task(self._answer(message), name="penstock-control")
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def _take_over(self, sock: socket.socket) -> None:
        from .handing import Arrivals  # noqa: PLC0415 - as above

        try:
            if self._mesh is not None:  # what is published from now on is for connections that come
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._mesh.acquainted(), ACQUAINTED_S)
            self._arrivals = Arrivals(sock, self._servers, self._has_taken_over)
        except Exception:
            _logger.exception("the connections of the worker before are not taken over")
            sock.close()
            self._has_taken_over()

    def _has_taken_over(self) -> None:
        self._arrivals, self._takes_over = None, False
        if self._mesh is not None:
            self._mesh.is_taking_over = False
            self._mesh.settle()
        self._hand_over()

    def _hand_over(self) -> None:
        """Have the successor go on with what can move, once all that the worker before had is here; then drain."""
        sock = self._departs
        if sock is None or self._takes_over:
            return
        self._departs = None
        if self._mesh is None:
            self._depart(sock)
            return
        task = asyncio.get_running_loop().create_task(
            self._depart_up_to_date(self._mesh, sock), name="penstock-handover"
        )
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _depart_up_to_date(self, mesh: Mesh, sock: socket.socket) -> None:
        """Hand over once all has come that the successor does not get: what was published before it was known."""
        try:
            await mesh.heard()
        except asyncio.CancelledError:  # the worker ends
            sock.close()
            raise
        except Exception:
            _logger.exception("what the other workers have published is not waited for")
        self._depart(sock)

    def _depart(self, sock: socket.socket) -> None:
        from .handing import Departure  # noqa: PLC0415 - as above

        try:
            accepting = [each for each in self._servers if self._is_last_everywhere(each.service.name)]
            self._departure = Departure(sock, self._servers, self._has_handed_over, accepting=accepting)
        except Exception:
            _logger.exception("connections are not handed over")
            sock.close()
            self._has_handed_over()

    def _is_last_everywhere(self, service: str) -> bool:
        """Whether the successor listens on no address of a service: who connects there is served here or not at all."""
        keys = self._keys.get(service, set())
        return bool(keys) and keys <= self._closes

    def _has_handed_over(self) -> None:
        handed_over = CloseReason.HANDED_OVER  # a conversation of that reason has to end, and is no connection here
        connections = [conn for server in self._servers for conn in server.connections]
        self._left = sum(conn.close_reason is not handed_over for conn in connections)
        self._channel.send(HandedOver())
        self._drain(last=False)

    async def _answer(self, asked: Ask) -> None:
        """Answer what the supervisor was asked over its control socket."""
        from ..control.messages import read_request  # noqa: PLC0415  # few servers have one

        if self._control is None:
            from ..control.process import ProcessControl  # noqa: PLC0415
            from ..server.beside import Steered  # noqa: PLC0415

            assert self._life is not None
            self._control = ProcessControl(Steered(self._servers[0].service.name, self._life, None), self.set_level)
        result: Any = None
        rows: Sequence[Any] = ()
        error = None
        try:
            result, rows = await self._control.answer(read_request(asked.request))
        except errors.PenstockError as refusal:
            error = str(refusal)
        except Exception as failure:
            _logger.exception("control: a request failed")
            error = f"{type(failure).__name__}: {failure}"
        self._channel.send(Answered(number=asked.number, pid=os.getpid(), result=result, rows=list(rows), error=error))

    def _orphaned(self) -> None:
        """The supervisor is gone, in whatever way: nobody is there to start a successor."""
        assert self._life is not None
        if self._is_orphaned:
            return
        self._is_orphaned = True
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(StoppedError("the supervisor is gone"))
        self._drain(last=True)

    def _drain(self, *, last: bool, closes_own: bool = False) -> None:
        assert self._life is not None

        def is_last_at(name: str, listener: Listener) -> bool:
            if listener.requested.scheme is Scheme.FD:  # who is queued there waits for what the service manager starts
                return False
            if last or (name, str(listener.requested)) in self._closes:
                return True
            return closes_own and listener.sock.fileno() in self._own

        for server in self._servers:
            server.is_last_at = partial(is_last_at, server.service.name)
        self._life.begin_drain()

    # -- what it says of itself ----------------------------------------------------------------------------------------

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        accepted = sum(server.stats.accepted for server in self._servers)
        memory_bytes = resident_bytes()
        self._channel.send(
            Beat(
                connections=sum(len(server.connections) for server in self._servers),
                accepted=accepted,
                messages_in=sum(server.messages_in for server in self._servers),
                messages_out=sum(server.messages_out for server in self._servers),
                memory_bytes=memory_bytes,
            )
        )
        has = {"connections": accepted, "age": loop.time() - self._began_at, "memory": memory_bytes or 0}
        for why, bound in self._bounds.items():
            if not self._is_leaving and has[why] >= bound:
                self._is_leaving = True
                self._channel.send(Leaving(why=why))


def _own_bounds(config: WorkersConfig) -> dict[str, float]:
    configured = {
        "connections": config.max_connections,
        "age": config.max_age_s,
        "memory": config.max_memory_bytes,
    }
    return {
        why: bound * (1 + random.random() * JITTER)  # noqa: S311 - no secret
        for why, bound in configured.items()
        if bound is not None
    }


def _listeners(opened: Sequence[OpenedSocket], descriptors: Sequence[int]) -> list[Listener]:
    return [
        Listener(
            socket.socket(fileno=descriptor),
            parse_address(each.requested),
            parse_address(each.address),
            each.backlog,
            each.name,
        )
        for each, descriptor in zip(opened, descriptors, strict=True)
    ]


def _end_unborn(_number: int = 0, _frame: object = None) -> None:
    """The supervisor is gone before this worker's loop runs: there is nobody to serve."""
    os._exit(ExitStatus.INTERRUPTED)


def _end_with_parent() -> None:
    """Have the kernel say when the supervisor is gone: the loop, which would find its channel closed, may be held."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, ORPHANED, 0, 0, 0)
