"""The supervisor: keeps the sockets, and as many workers as there have to be."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ..errors import ConfigurationError, ExitStatus, PenstockError, StoppedError
from ..server.inherited import InheritedSocket
from .crew import Crew
from .holdings import Holdings
from .keeper import Keeper, Key
from .late import Overseer
from .messages import (
    Answered,
    Apart,
    Beat,
    Count,
    FromWorker,
    HandedOver,
    Leaving,
    Meet,
    Open,
    Parted,
    Ready,
)
from .partings import Partings
from .plan import WorkersPlan
from .process import State, WorkerProcess
from .rolls import Rolls
from .staff import Staff
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
        on_answer: Told what a worker answers that was asked over the control socket.
        on_serving: Told of each worker that begins to serve.
        on_first: Told when the first one does: from then on there is something to drain.
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
        self._command = tuple(command)
        self._cwd = cwd
        self._on_reload = on_reload
        self._on_succeeded = on_succeeded
        self._on_end = on_end
        self._holdings = Holdings(Keeper(inherited), {}) if before is None else Holdings(before.keeper, before.cells)
        self._keeper = self._holdings.keeper
        if before is not None:
            before.introduce(self._holdings.introductions)
        # A slot of the supervisor before has its worker until that has given all up: its listeners are open.
        self._crew = Crew(max(plan.config.number, self._keeper.slots))
        self._rolls = Rolls(
            plan,
            reread,
            self._crew,
            settle=self.settle,
            may_begin=self._may_roll,
            on_roll=self._roll_changes,
        )
        self._successor: Successor | None = None
        # While the supervisor before has not given all up: what its workers are to close, by slot.
        self._left: dict[int, list[Key]] | None = None if before is None else {}
        self._reloads_then = False
        self._status = ExitStatus.OK
        self._ready: asyncio.Future[None] | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._overseer = Overseer(lambda: self._crew, lambda: self._rolls.plan.config, self._look_for_ends)
        self._first_ready: Ready | None = None
        self._staff = Staff(
            command,
            cwd,
            crew=self._crew,
            rolls=self._rolls,
            keeper=self._keeper,
            listening=self,
            started=0 if before is None else before.started,
            could_not_start=self._fail,
            gives_up=self._give_up,
        )
        self._partings = Partings()
        self.on_answer: Callable[[Answered], object] = lambda _: None
        self.on_serving: Callable[[WorkerProcess], object] = lambda _: None
        self.on_first: Callable[[], object] = lambda: None

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def workers(self) -> list[WorkerStatus]:
        """Every worker that has not ended, by slot."""
        now = self._now()
        return [WorkerStatus.of(worker, now) for worker in sorted(self._crew, key=lambda each: each.slot)]

    @property
    def plan(self) -> WorkersPlan:
        """What the workers go by."""
        return self._rolls.plan

    @property
    def generation(self) -> int:
        """How many rolls there were."""
        return self._rolls.generation

    @property
    def ready(self) -> Ready:
        """What the first worker said when it was ready."""
        assert self._first_ready is not None, "it does not serve yet"
        return self._first_ready

    @property
    def has_served(self) -> bool:
        """Whether a worker was ever ready: peers can have been served, though others never were."""
        return self._first_ready is not None

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens; empty before the start."""
        return () if self._first_ready is None else self._first_ready.addresses

    @property
    def handover(self) -> dict[int, int]:
        """In which format the worker of each slot takes connections over."""
        return self._crew.handover

    @property
    def left(self) -> dict[int, list[Key]]:
        """What the workers of the supervisor before are to close, by slot: no worker here listens there."""
        files = self._staff.files_left()
        return {slot: [*left, *files] for slot, left in (self._left or {}).items()}

    @property
    def processes(self) -> list[WorkerProcess]:
        """Every worker that has not ended."""
        return list(self._crew)

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end."""
        return self._staff.is_ending

    @property
    def exit_status(self) -> ExitStatus:
        """What came of it, once it has ended."""
        return self._status

    @property
    def wanted(self) -> int:
        """How many workers there have to be."""
        return len(self._crew.slots)

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
        if self._staff.is_ending:
            raise StoppedError("told to stop before it served")
        loop = asyncio.get_running_loop()
        self._ready, self._stopped = loop.create_future(), loop.create_future()
        loop.add_signal_handler(signal.SIGCHLD, self._look_for_ends)
        self._overseer.start()
        self._staff.begin(self._crew.slots[0])
        try:
            await self._ready
        except BaseException:
            self.begin_drain()
            await self.wait_stopped()
            raise
        self._staff.serves = True
        if self._reloads_then:  # once the caller has said that it serves
            loop.call_soon(self._rolls.begin)

    def begin_drain(self) -> None:
        """End in order: every worker drains. May be repeated; `wait_stopped` waits."""
        if self._begins_to_end():
            for worker in self._crew.staying:
                worker.drain(self._now(), last=True)
            self._check_over()

    def begin_stop(self) -> None:
        """End at once: every worker aborts its connections. May be repeated."""
        self._begins_to_end()
        for worker in self._crew:
            worker.stop(self._now())
        self._check_over()

    async def wait_stopped(self) -> None:
        """Wait until the last worker has ended. Does not bring it about."""
        if self._stopped is not None:
            await asyncio.shield(self._stopped)

    def _begins_to_end(self) -> bool:
        """Start no more workers from now on; return whether that is new."""
        if self._staff.is_ending:
            return False
        self._staff.end()
        self._on_end(self._crew.connections)
        if self._stopped is None:
            return False  # `start` will not begin
        self._rolls.server_ends()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(StoppedError("told to stop before it served"))
        return True

    def _check_over(self) -> None:
        if not self._staff.is_ending or not self._staff.is_gone:
            return
        if self._stopped is None or self._stopped.done():
            return
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        self._overseer.end()
        self._rolls.cancel()
        if self._successor is not None:
            self._successor.close()
        self._holdings.close()
        self._stopped.set_result(None)

    # -- what it can be asked for --------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Roll: read the configuration again and replace every worker, each as soon as its successor is ready.

        What is wrong with the new configuration or the new code is said, and the workers that serve go on. While the
        first worker of one roll is not ready, another roll is put off; so is one before the server serves.
        """
        if self._staff.serves:
            self._rolls.begin()
        else:
            self._reloads_then = True

    async def reloaded(self) -> str:
        """As `reload`; return what came of it, once it is over.

        Raises:
            ConfigurationError: The workers stay as they were.
        """
        return await self._rolls.outcome()

    def _may_roll(self) -> bool:
        if self._staff.is_ending or not self._staff.serves:
            return False
        if self._successor is not None:
            _logger.warning("no roll: another supervisor is starting")
            return False
        return True

    def _roll_changes(self, begins: bool) -> None:
        self._on_reload(begins)
        if not begins and not self._crew.leaving:
            self._partings.tell()

    def succeed(self) -> None:
        """Start the command line again, as a supervisor that takes over: new code of the supervisor's, too.

        Until all of its workers serve, nothing changes. While it starts there is no roll, and the number stays.
        """
        if self._staff.is_ending or not self._staff.serves or self._successor is not None or self._rolls.is_rolling:
            _logger.warning(
                "no other supervisor is started: this one %s", "ends" if self._staff.is_ending else "is at work"
            )
            return
        try:
            self._successor = Successor(
                self._command,
                self._cwd,
                self._keeper,
                self._holdings.cells,
                self._staff.started + LEAP,
                introductions=self._holdings.introductions,
                took_over=self._succeeded,
                failed=self._did_not_succeed,
            )
        except OSError as error:
            _logger.error("cannot start another supervisor: %s", error.strerror or error)
            return
        _logger.info("another supervisor is started: process %d", self._successor.pid)

    def _succeeded(self) -> None:
        assert self._successor is not None
        if self._staff.is_ending:
            return
        _logger.info("the supervisor of process %d has taken over; this one drains", self._successor.pid)
        disown(self._keeper)
        self._on_succeeded(self._successor.pid)
        self._successor.give()
        self._begins_to_end()
        successor = self._successor
        for worker in self._crew.staying:
            give = partial(successor.hand, worker.slot)
            handover, closes = successor.handover.get(worker.slot, 0), successor.closes.get(worker.slot, ())
            worker.give_way(handover, give, self._now(), closes)
        self._check_over()

    def _did_not_succeed(self, status: int) -> None:
        self._successor = None
        self._staff.started += 2 * LEAP  # its workers have had numbers, and no other worker has one of them
        _logger.error("the other supervisor ended with status %d; this one goes on", status)

    def scale(self, count: int) -> None:
        """Serve with ``count`` workers from now on. If there are more, the last ones drain.

        Raises:
            ConfigurationError: It is not from 1 to 1,024, or another supervisor is taking over.
        """
        if self._successor is not None:
            raise ConfigurationError("another supervisor is starting", "workers")
        self._rolls.scale(count)
        self._staff.settle()

    def drain(self, worker: int) -> bool:
        """Replace one worker.

        Args:
            worker: Its process.

        Returns:
            False when there is no such worker, or it drains already.
        """
        return self._staff.drain(worker)

    def reopen_log_files(self) -> None:
        """Have every worker open its log files again: this process has none."""
        for worker in self._crew:
            if worker.state is not State.STARTING:  # one that is reads the configuration anyway, and opens them
                worker.signal(signal.SIGUSR1)

    def stacks(self) -> None:
        """Have every worker write to standard error what its threads and tasks are doing."""
        loop = asyncio.get_running_loop()
        # One after the other: each writes piece by piece, in a signal's handler, and two would be mixed.
        able = [worker for worker in self._crew if worker.state is not State.STARTING]
        for number, worker in enumerate(able):
            loop.call_later(number * STACKS_S, worker.signal, signal.SIGQUIT)

    def settle(self) -> None:
        """Bring about what has to be: for each slot a worker of this generation."""
        self._staff.settle()

    def taken(self) -> None:
        """The supervisor before has given all up."""
        self._left = None
        self._staff.close_files()
        self.settle()

    def take_over(self, slot: int, descriptor: int) -> None:
        """Have the worker of a slot go on with connections of a worker of the supervisor before."""
        self._crew.take_over(slot, descriptor)

    # -- what workers say ----------------------------------------------------------------------------------------------

    def heard(self, worker: WorkerProcess, message: FromWorker, /) -> None:
        """A worker has said this."""
        worker.heard_at = self._now()
        match message:
            case Beat():
                worker.figures = message
            case Open() if self._crew.slot_of(worker) is None:
                self._holdings.refuse(worker, message)
            case Open():
                self._holdings.open(worker, message)
            case Count():
                self._holdings.count(worker, message)
            case Meet():
                self._holdings.introductions.meet(worker, message)
            case Apart():
                self._holdings.introductions.again(worker, message)
            case Ready():
                self._is_ready(worker, message)
            case Leaving():
                self._staff.leaves(worker, message.why)
            case HandedOver():
                worker.has_handed_over(self._now())
            case Parted():
                worker.parted = message
            case Answered():
                self.on_answer(message)

    def _is_ready(self, worker: WorkerProcess, message: Ready) -> None:
        slot = self._crew.slot_of(worker)
        worker.ready, worker.ready_at = message, self._now()
        if worker.state is not State.STARTING or slot is None or slot.coming is not worker:
            return
        worker.state = State.SERVING
        self.on_serving(worker)
        before = self._crew.serves(slot, worker)
        if self._first_ready is None:
            self._first_ready = message
            self.on_first()
        left = self._keeper.leave_unasked(slot.number, worker.keys)
        if self._left is None:
            left += self._staff.close_files()
        else:
            self._left.setdefault(slot.number, []).extend(left)
        if before is not None:
            before.give_way(worker.handover, worker.take_over, self._now(), left)
        self._rolls.worker_serves(worker.generation)
        _logger.debug("worker %d serves: process %d", slot.number, worker.pid)
        self._staff.settle()
        if self._ready is not None and not self._ready.done() and self._crew.are_current(self._rolls.generation):
            self._ready.set_result(None)

    # -- how workers end -----------------------------------------------------------------------------------------------

    def _look_for_ends(self) -> None:
        if self._successor is not None:
            self._successor.look()
        self._staff.look_for_spare()
        for worker in list(self._crew):
            if worker.has_ended():
                self._has_ended(worker)
        if self._left is None:
            self._staff.close_unused()
        if (
            not self._crew.leaving
            and not self._rolls.is_rolling
            and not (self._staff.is_ending and not self._crew.is_empty)
        ):
            self._partings.tell()
        self._check_over()

    def _has_ended(self, worker: WorkerProcess) -> None:
        self._holdings.take_back(worker)
        self._partings.add(worker.parted)
        self._staff.ended(worker)
        if worker.told_at is not None and worker.state is State.ENDED and worker.ready_at is not None:
            self._note_end(worker)

    def _note_end(self, worker: WorkerProcess) -> None:
        if worker.status == ExitStatus.DRAIN_TIMEOUT or worker.was_killed:
            if self._staff.is_ending:
                self._status = ExitStatus.DRAIN_TIMEOUT
        elif worker.status:
            _logger.error("worker %d drained and failed: process %d, %s", worker.slot, worker.pid, worker.end_in_words)
            if self._staff.is_ending and self._status is ExitStatus.OK:
                self._status = ExitStatus.FAILED

    def _fail(self, status: int) -> None:
        assert self._ready is not None
        if not self._ready.done():
            self._ready.set_exception(StartError(status))

    def _give_up(self) -> None:
        self._status = ExitStatus.FAILED
        self.begin_drain()
