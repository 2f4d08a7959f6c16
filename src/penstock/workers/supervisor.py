"""The supervisor: keeps the sockets, and as many workers as there have to be."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ..engines.aside import aside
from ..errors import ConfigurationError, ExitStatus, PenstockError, StoppedError
from ..server.inherited import InheritedSocket
from .cells import AVAILABLE
from .holdings import Holdings
from .keeper import Keeper
from .late import Overseer
from .messages import VERSION, Answered, Beat, Begin, Count, FromWorker, HandedOver, Leaving, Open, Parted, Ready
from .partings import Partings
from .plan import WorkersPlan
from .process import State, WorkerProcess
from .restarts import Restarts
from .status import WorkerStatus
from .succession import Inheritance, Successor, disown

# Between one worker's stacks and the next one's.
STACKS_S: Final = 0.2

# A new supervisor numbers its workers from so far ahead: those that the old one starts meanwhile have numbers, too.
LEAP: Final = 1000

_logger: Final = logging.getLogger("penstock")


class StartError(PenstockError):
    """A worker could not start, and has said why. Nothing was served.

    Attributes:
        exit_status: The worker's.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        known = status in ExitStatus.__members__.values()
        self.exit_status = ExitStatus(status) if known and status else ExitStatus.FAILED


@dataclass(slots=True, eq=False)
class Slot:
    """A place for a worker.

    Attributes:
        number: From 1 on.
        restarts: What became of its workers that ended by themselves.
        leavings: What became of those that asked for a successor.
        current: The worker that serves; None where none does.
        coming: The worker that is to serve and is not ready yet; None where none is.
        retry: Starts the next one; None where that is not put off.
    """

    number: int
    restarts: Restarts = field(default_factory=Restarts)
    leavings: Restarts = field(default_factory=Restarts)
    current: WorkerProcess | None = None
    coming: WorkerProcess | None = None
    retry: asyncio.TimerHandle | None = None


class Supervisor:
    """Starts workers, replaces those that end, and ends them. It serves no peer and imports no code of the user's.

    All methods belong to the loop's thread.

    Args:
        command: What a worker is: the command line of this process.
        plan: What it begins with.
        reread: Reads the configuration again, for `reload`. Called in a thread.
        cwd: Where workers begin; None for where this process is.
        inherited: What a service manager handed down.
        before: What a supervisor before this one has handed down; None where there is none.
        on_reload: Told that a roll begins, and that it is over.
        on_succeeded: Told the process of the supervisor that has taken over; this one only drains from then on.
        on_end: Told that the workers drain, or are stopped, and how many connections they had.

    Attributes:
        plan: What the workers go by.
        generation: How many rolls there were.
        on_answer: Told what a worker answers that was asked over the control socket.
        on_serving: Told of each worker that begins to serve.
    """

    def __init__(
        self,
        command: Sequence[str],
        plan: WorkersPlan,
        *,
        reread: Callable[[], WorkersPlan],
        cwd: str | None = None,
        inherited: Sequence[InheritedSocket] = (),
        before: Inheritance | None = None,
        on_reload: Callable[[bool], object] = lambda _: None,
        on_succeeded: Callable[[int], object] = lambda _: None,
        on_end: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.generation = 0
        self._command = tuple(command)
        self._cwd = cwd
        self._reread = reread
        self._on_reload = on_reload
        self._holdings = Holdings(Keeper(inherited), {}) if before is None else Holdings(before.keeper, before.cells)
        self._keeper = self._holdings.keeper
        self._on_succeeded = on_succeeded
        self._on_end = on_end
        self._successor: Successor | None = None
        # A slot of the supervisor before has its worker until that has given all up: its listeners are open.
        self._slots = [Slot(number) for number in range(1, max(plan.config.number, self._keeper.slots) + 1)]
        self._leaving: list[WorkerProcess] = []
        self._before: WorkersPlan | None = None  # while a roll may still be given up
        self._is_rolling = self._reads = self._rolls_again = False
        self._rolled: asyncio.Task[None] | None = None
        self._serves = False
        self._ending = False
        self._status = ExitStatus.OK
        self._ready: asyncio.Future[None] | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._overseer = Overseer(self._workers, lambda: self.plan.config, self._look_for_ends)
        self._first_ready: Ready | None = None
        self._started = 0 if before is None else before.started  # workers, so far
        self._partings = Partings()
        self._outcomes: list[asyncio.Future[str]] = []
        self.on_answer: Callable[[Answered], object] = lambda _: None
        self.on_serving: Callable[[WorkerProcess], object] = lambda _: None

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def workers(self) -> list[WorkerStatus]:
        """Every worker that has not ended, by slot."""
        now = self._now()
        return [WorkerStatus.of(worker, now) for worker in sorted(self._workers(), key=lambda each: each.slot)]

    @property
    def ready(self) -> Ready:
        """What the first worker said when it was ready."""
        assert self._first_ready is not None, "it does not serve yet"
        return self._first_ready

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens; empty before the start."""
        return () if self._first_ready is None else self._first_ready.addresses

    @property
    def processes(self) -> list[WorkerProcess]:
        """Every worker that has not ended."""
        return list(self._workers())

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end."""
        return self._ending

    @property
    def exit_status(self) -> ExitStatus:
        """What came of it, once it has ended."""
        return self._status

    @property
    def wanted(self) -> int:
        """How many workers there have to be."""
        return len(self._slots)

    def _workers(self) -> Iterator[WorkerProcess]:
        for slot in self._slots:
            if slot.current is not None:
                yield slot.current
            if slot.coming is not None:
                yield slot.coming
        yield from self._leaving

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the workers, and wait until all of them serve.

        The first one begins alone: what is wrong with the application or its configuration is said once.

        Raises:
            StartError: A worker could not start. It has said why; the others have ended, and what was opened is closed.
            StoppedError: It was told to end meanwhile, or before.
        """
        if self._ending:
            raise StoppedError("told to stop before it served")
        loop = asyncio.get_running_loop()
        self._ready, self._stopped = loop.create_future(), loop.create_future()
        loop.add_signal_handler(signal.SIGCHLD, self._look_for_ends)
        self._overseer.start()
        self._begin(self._slots[0])
        try:
            await self._ready
        except BaseException:
            self.begin_drain()
            await self.wait_stopped()
            raise
        self._serves = True

    def begin_drain(self) -> None:
        """End in order: every worker drains. May be repeated; `wait_stopped` waits."""
        if self._begins_to_end():
            for worker in self._workers():
                if worker not in self._leaving:
                    worker.drain(self._now(), last=True)
            self._check_over()

    def begin_stop(self) -> None:
        """End at once: every worker aborts its connections. May be repeated."""
        self._begins_to_end()
        for worker in self._workers():
            worker.stop(self._now())
        self._check_over()

    async def wait_stopped(self) -> None:
        """Wait until the last worker has ended. Does not bring it about."""
        if self._stopped is not None:
            await asyncio.shield(self._stopped)

    def _begins_to_end(self) -> bool:
        """Start no more workers from now on; return whether that is new."""
        if self._ending:
            return False
        self._ending = True
        self._on_end(sum(worker.connections for worker in self._workers()))
        if self._stopped is None:
            return False  # `start` will not begin
        self._say_outcome(ConfigurationError("the server ends"))
        for slot in self._slots:
            _cancel(slot)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(StoppedError("told to stop before it served"))
        return True

    def _check_over(self) -> None:
        if not self._ending or any(True for _ in self._workers()):
            return
        if self._stopped is None or self._stopped.done():
            return
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        self._overseer.end()
        if self._rolled is not None:
            self._rolled.cancel()
        if self._successor is not None:
            self._successor.close()
        self._holdings.close()
        self._stopped.set_result(None)

    # -- what it can be asked for --------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Roll: read the configuration again and replace every worker, each as soon as its successor is ready.

        What is wrong with the new configuration or the new code is said, and the workers that serve go on. While the
        first worker of one roll is not ready, another roll is put off.
        """
        if self._ending or not self._serves:
            return
        if self._successor is not None:
            _logger.warning("no roll: another supervisor is starting")
            return
        if self._before is not None or (self._rolled is not None and not self._rolled.done()):
            self._rolls_again = True
            return
        self._is_rolling = self._reads = True
        self._on_reload(True)
        self._rolled = asyncio.get_running_loop().create_task(self._roll(), name="penstock-roll")

    async def reloaded(self) -> str:
        """As `reload`; return what came of it, once it is over.

        Raises:
            ConfigurationError: The workers stay as they were.
        """
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._outcomes.append(outcome)
        self.reload()
        if not self._is_rolling:
            self._say_outcome(ConfigurationError("there is no roll now: the server starts, or ends"))
        return await outcome

    def _say_outcome(self, outcome: str | Exception) -> None:
        waiting, self._outcomes = self._outcomes, []
        for future in waiting:
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    async def _roll(self) -> None:
        try:
            plan = await aside(self._reread, "penstock-configuration")
        except Exception as error:
            known = isinstance(error, ConfigurationError | RuntimeError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            _logger.error("the workers stay as they are: %s", "; ".join(text.splitlines()))
            self._say_outcome(ConfigurationError(text))
            self._roll_over()
            return
        self._reads = False
        if self._ending:
            return
        self._before, self.plan = self.plan, plan
        self.generation += 1
        for slot in self._slots:
            slot.restarts, slot.leavings = Restarts(), Restarts()
        _logger.info("reloading: workers of generation %d are started", self.generation)
        self._settle()

    def _roll_over(self) -> None:
        self._is_rolling = self._reads = False
        self._before = None
        self._on_reload(False)
        if not self._leaving:
            self._partings.tell()
        if self._rolls_again and not self._ending:
            self._rolls_again = False
            self.reload()

    def succeed(self) -> None:
        """Start the command line again, as a supervisor that takes over: new code of the supervisor's, too.

        Until all of its workers serve, nothing changes. While it starts there is no roll, and the number stays.
        """
        if self._ending or not self._serves or self._successor is not None or self._is_rolling:
            _logger.warning("no other supervisor is started: this one %s", "ends" if self._ending else "is at work")
            return
        try:
            self._successor = Successor(
                self._command,
                self._cwd,
                self._keeper,
                self._holdings.cells,
                self._started + LEAP,
                took_over=self._succeeded,
                failed=self._did_not_succeed,
            )
        except OSError as error:
            _logger.error("cannot start another supervisor: %s", error.strerror or error)
            return
        _logger.info("another supervisor is started: process %d", self._successor.pid)

    def _succeeded(self) -> None:
        assert self._successor is not None
        if self._ending:
            return
        _logger.info("the supervisor of process %d has taken over; this one drains", self._successor.pid)
        disown(self._keeper)
        self._on_succeeded(self._successor.pid)
        self._successor.give()
        self._begins_to_end()
        successor = self._successor
        for worker in list(self._workers()):
            if worker not in self._leaving:
                give = partial(successor.hand, worker.slot)
                self._end(worker, successor.handover.get(worker.slot, 0), give)
        self._check_over()

    def _did_not_succeed(self, status: int) -> None:
        self._successor = None
        _logger.error("the other supervisor ended with status %d; this one goes on", status)

    def settle(self) -> None:
        """Have as many workers as there are to be, once nobody before this supervisor has any."""
        self._settle()

    def scale(self, count: int) -> None:
        """Serve with ``count`` workers from now on. If there are more, the last ones drain.

        Raises:
            ConfigurationError: It is not from 1 to 1,024, or another supervisor is taking over.
        """
        if self._successor is not None:
            raise ConfigurationError("another supervisor is starting", "workers")
        self.plan = WorkersPlan(dataclasses.replace(self.plan.config, count=count), self.plan.document)
        self._settle()

    def drain(self, worker: int) -> bool:
        """Replace one worker.

        Args:
            worker: Its process.

        Returns:
            False when there is no such worker, or it drains already.
        """
        for slot in self._slots:
            if slot.current is not None and slot.current.pid == worker:
                slot.current.is_leaving = True
                self._settle()
                return True
        return False

    def reopen_log_files(self) -> None:
        """Have every worker open its log files again: this process has none."""
        for worker in self._workers():
            if worker.state is not State.STARTING:  # one that is reads the configuration anyway, and opens them
                worker.signal(signal.SIGUSR1)

    def stacks(self) -> None:
        """Have every worker write to standard error what its threads and tasks are doing."""
        loop = asyncio.get_running_loop()
        # One after the other: each writes piece by piece, in a signal's handler, and two would be mixed.
        able = [worker for worker in self._workers() if worker.state is not State.STARTING]
        for number, worker in enumerate(able):
            loop.call_later(number * STACKS_S, worker.signal, signal.SIGQUIT)

    # -- keeping as many as there have to be ---------------------------------------------------------------------------

    def _settle(self) -> None:
        """Bring about what has to be: for each slot a worker of this generation."""
        if self._ending:
            return
        self._resize(self.plan.config.number)
        first = self._slots[0]
        if self._before is not None and not self._is_current(first.current):
            self._begin(first)  # alone: whether the new code serves at all
            return
        for slot in self._slots:
            if not self._is_current(slot.current):
                self._begin(slot)
        if self._is_rolling and not self._reads and all(self._is_current(slot.current) for slot in self._slots):
            drained = sum(worker.connections for worker in self._leaving)
            serve = f"{len(self._slots)} workers of generation {self.generation} serve"
            if len(self._slots) == 1:
                serve = f"1 worker of generation {self.generation} serves"
            _logger.info("reloaded: %s; those before drain, with %d connections", serve, drained)
            self._say_outcome(serve)
            self._roll_over()

    def _resize(self, count: int) -> None:
        while len(self._slots) > count and self._serves and self._before is None:
            # Not before the new code serves: until then there is a way back.
            self._shed(self._slots.pop())
        while len(self._slots) < count:
            self._slots.append(Slot(len(self._slots) + 1))

    def _shed(self, slot: Slot) -> None:
        """Have one worker less. It serves who is queued in its listeners before those close."""
        _cancel(slot)
        self._keeper.leave(slot.number)
        for worker in (slot.current, slot.coming):
            if worker is not None:
                self._leaving.append(worker)
                worker.drain(self._now(), closes_own=True)

    def _is_current(self, worker: WorkerProcess | None) -> bool:
        return worker is not None and worker.generation == self.generation and not worker.is_leaving

    def _begin(self, slot: Slot) -> None:
        """Start a worker, unless one is coming already, or the next one is put off."""
        if slot.coming is not None or slot.retry is not None or self._ending:
            return
        begin = Begin(
            version=VERSION,
            slot=slot.number,
            generation=self.generation,
            warns=slot is self._slots[0],
            file=self.plan.file,
            inherited=[(each.fd, each.name) for each in self._keeper.inherited],
            silence_s=self.plan.config.silence_s,
            workers=self.plan.config.number,
            counts_together=AVAILABLE,
            number=self._started,
        )
        self._started += 1
        try:
            slot.coming = WorkerProcess(self._command, begin, self, self._now(), environ=os.environ, cwd=self._cwd)
        except OSError as error:
            _logger.error("cannot start a worker: %s", error.strerror or error)
            if not self._serves:
                self._fail(ExitStatus.LIMITS)
            elif self._before is not None:
                self._go_back("cannot be started")
            else:
                self._replace(slot, 0.0)

    def _put_off(self, slot: Slot, delay_s: float) -> None:
        _cancel(slot)

        def retry() -> None:
            slot.retry = None
            self._settle()

        slot.retry = asyncio.get_running_loop().call_later(delay_s, retry)

    # -- what workers say ----------------------------------------------------------------------------------------------

    def heard(self, worker: WorkerProcess, message: FromWorker, /) -> None:
        """A worker has said this."""
        worker.heard_at = self._now()
        match message:
            case Beat():
                worker.figures = message
            case Open() if self._slot_of(worker) is None:
                self._holdings.refuse(worker, message)
            case Open():
                self._holdings.open(worker, message)
            case Count():
                self._holdings.count(worker, message)
            case Ready():
                self._is_ready(worker, message)
            case Leaving():
                self._leaves(worker, message.why)
            case HandedOver():
                worker.has_handed_over(self._now())
            case Parted():
                worker.parted = message
            case Answered():
                self.on_answer(message)

    def _is_ready(self, worker: WorkerProcess, message: Ready) -> None:
        slot = self._slot_of(worker)
        worker.ready, worker.ready_at = message, self._now()
        if worker.state is not State.STARTING or slot is None or slot.coming is not worker:
            return
        worker.state = State.SERVING
        self.on_serving(worker)
        slot.coming = None
        before, slot.current = slot.current, worker
        self._first_ready = self._first_ready or message
        if before is not None:
            self._leaving.append(before)
            self._part(before, worker)
        if worker.generation == self.generation:
            self._before = None  # the new code serves: there is no way back
        _logger.debug("worker %d serves: process %d", slot.number, worker.pid)
        self._settle()
        if self._ready is not None and not self._ready.done() and all(self._is_current(s.current) for s in self._slots):
            self._ready.set_result(None)

    def _part(self, before: WorkerProcess, worker: WorkerProcess) -> None:
        """Have a worker drain that has a successor, which first goes on with the connections that can move."""
        self._end(before, worker.handover, worker.take_over)

    def _end(self, worker: WorkerProcess, handover: int, give: Callable[[int], object]) -> None:
        """Have a worker drain that has a successor, which first goes on with connections if it knows the format."""
        if worker.hands_over(handover):
            try:
                worker.hand_over(give, self._now())
            except OSError as error:
                _logger.error("connections are not handed over: %s", error.strerror or error)
            else:
                return
        worker.drain(self._now())

    def take_over(self, slot: int, descriptor: int) -> None:
        """Have the worker of a slot go on with connections of a worker of the supervisor before."""
        for each in self._slots:
            if each.number == slot and each.current is not None:
                each.current.take_over(descriptor)
        os.close(descriptor)

    @property
    def handover(self) -> dict[int, int]:
        """In which format the worker of each slot takes connections over."""
        return {slot.number: slot.current.handover for slot in self._slots if slot.current is not None}

    def _leaves(self, worker: WorkerProcess, why: str) -> None:
        slot = self._slot_of(worker)
        if slot is None or slot.current is not worker:
            return
        worker.is_leaving = True
        if why == "told":  # by a signal: it drains already
            worker.state = State.DRAINING
            worker.told_at = worker.told_at or self._now()
            slot.current = None
            self._leaving.append(worker)
            _logger.info("worker %d is replaced, having been told to end: process %d", slot.number, worker.pid)
        else:
            _logger.info("worker %d is replaced for its %s: process %d", slot.number, why, worker.pid)
        if worker.ready_at is not None and slot.coming is None and slot.retry is None:
            # One that leaves as soon as it serves has a successor that may do the same: each of them comes later.
            delay_s = slot.leavings.ended(self._now() - worker.ready_at)
            if delay_s:
                self._put_off(slot, delay_s)
        self._settle()

    def _slot_of(self, worker: WorkerProcess) -> Slot | None:
        return next((slot for slot in self._slots if worker in (slot.current, slot.coming)), None)

    # -- how workers end -----------------------------------------------------------------------------------------------

    def _look_for_ends(self) -> None:
        if self._successor is not None:
            self._successor.look()
        for worker in list(self._workers()):
            if worker.has_ended():
                self._has_ended(worker)
        self._close_unused()
        if not self._leaving and not self._is_rolling and not (self._ending and any(True for _ in self._workers())):
            self._partings.tell()
        self._check_over()

    def _has_ended(self, worker: WorkerProcess) -> None:
        self._holdings.take_back(worker)
        slot = self._slot_of(worker)
        if worker in self._leaving:
            self._leaving.remove(worker)
        self._partings.add(worker.parted)
        if slot is not None and slot.coming is worker:
            slot.coming = None
            self._did_not_start(slot, worker)
        elif slot is not None:
            slot.current = None
            if not self._ending:
                _logger.error("worker %d ended by itself: process %d, %s", slot.number, worker.pid, worker.end_in_words)
                assert worker.ready_at is not None
                self._replace(slot, self._now() - worker.ready_at, was_killed=worker.was_killed_by_others)
        if worker.told_at is not None and worker.state is State.ENDED and worker.ready_at is not None:
            self._note_end(worker)

    def _note_end(self, worker: WorkerProcess) -> None:
        if worker.status == ExitStatus.DRAIN_TIMEOUT or worker.was_killed:
            if self._ending:
                self._status = ExitStatus.DRAIN_TIMEOUT
        elif worker.status:
            _logger.error("worker %d drained and failed: process %d, %s", worker.slot, worker.pid, worker.end_in_words)
            if self._ending and self._status is ExitStatus.OK:
                self._status = ExitStatus.FAILED

    def _did_not_start(self, slot: Slot, worker: WorkerProcess) -> None:
        if self._ending:
            return
        words = worker.end_in_words
        if not self._serves:
            self._fail(worker.status or 0)
            return
        if self._before is not None and worker.generation == self.generation:
            self._go_back(f"ended with {words}")
            return
        _logger.error("worker %d did not start: process %d, %s", slot.number, worker.pid, words)
        self._replace(slot, 0.0)

    def _go_back(self, why: str) -> None:
        """Give the roll up: go on with the plan before, and have workers of the generation before in every slot."""
        assert self._before is not None
        _logger.error("the new code is not served: its first worker %s; those before go on", why)
        self._say_outcome(ConfigurationError(f"the new code is not served: its first worker {why}"))
        self.plan = self._before
        self.generation -= 1
        self._roll_over()
        self._settle()

    def _fail(self, status: int) -> None:
        assert self._ready is not None
        if not self._ready.done():
            self._ready.set_exception(StartError(status))

    def _replace(self, slot: Slot, served_s: float, *, was_killed: bool = False) -> None:
        self._put_off(slot, slot.restarts.ended(served_s, was_killed=was_killed))
        if slot.restarts.is_hopeless and not any(slot.current for slot in self._slots):
            _logger.critical(
                "giving up: %d workers in a row ended before they had served for ten seconds, and no other serves",
                slot.restarts.failures,
            )
            self._status = ExitStatus.FAILED
            self.begin_drain()

    def _close_unused(self) -> None:
        """Close the addresses that no worker of this generation listens on, once those before it have ended."""
        workers = list(self._workers())
        if self._ending or self._is_rolling or any(each.generation != self.generation for each in workers):
            return
        serving = [worker for worker in workers if worker.state is State.SERVING]
        if serving and len(serving) >= len(self._slots):
            for text in self._keeper.close_but({key for worker in serving for key in worker.keys}):
                _logger.info("no longer listening on %s", text)


def _cancel(slot: Slot) -> None:
    if slot.retry is not None:
        slot.retry.cancel()
        slot.retry = None
