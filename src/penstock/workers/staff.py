"""As many workers as there have to be: they are started, replaced, and their ends are judged."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Sequence
from typing import Final

from ..errors import ExitStatus
from .cells import AVAILABLE
from .crew import Crew, Slot, is_current
from .keeper import Keeper, Key
from .messages import VERSION, Begin
from .process import Interpreter, Listening, State, WorkerProcess
from .rolls import Rolls
from .spare import Spares

# A signal for a whole group of processes comes to a worker first, or to the supervisor.
TOLD_S: Final = 0.25

_logger: Final = logging.getLogger("penstock")


class Staff:
    """Brings about what the plan says. All methods belong to the loop's thread.

    Args:
        command: What a worker is.
        cwd: Where workers begin; None for where this process is.
        crew: The workers.
        rolls: What they go by.
        keeper: The listeners.
        listening: Told what they say.
        started: How many workers there were before.
        could_not_start: Told the exit status of a worker that could not start, before the server serves.
        gives_up: Told that each worker crashes.

    Attributes:
        serves: Whether all workers have served, once.
        is_ending: Whether no worker is started any more.
        started: How many workers there were so far.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: str | None,
        *,
        crew: Crew,
        rolls: Rolls,
        keeper: Keeper,
        listening: Listening,
        started: int,
        could_not_start: Callable[[int], object],
        gives_up: Callable[[], object],
    ) -> None:
        self._command = tuple(command)
        self._cwd = cwd
        self._crew = crew
        self._rolls = rolls
        self._keeper = keeper
        self._listening = listening
        self._could_not_start = could_not_start
        self._gives_up = gives_up
        self._spares = Spares(self._interpreter)
        self.started = started
        self.serves = self.is_ending = False

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def end(self) -> None:
        """Start no more workers from now on."""
        self.is_ending = True
        self._crew.cancel()
        self._spares.end()

    @property
    def is_gone(self) -> bool:
        """Whether all have ended."""
        return self._crew.is_empty and self._spares.are_over

    def look_for_spare(self) -> None:
        """Notice the end of a spare one."""
        self._spares.look()

    # -- starting ------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Bring about what has to be: for each slot a worker of this generation."""
        if self.is_ending:
            return
        rolls, crew = self._rolls, self._crew
        count = rolls.plan.config.number
        # Not before the new code serves: until then there is a way back.
        while len(crew.slots) > count and self.serves and not rolls.may_go_back:
            self._shed()
        crew.grow(count)
        first = crew.slots[0]
        if rolls.may_go_back and not is_current(first.current, rolls.generation):
            self.begin(first)  # alone: whether the new code serves at all
            return
        for slot in crew.slots:
            if not is_current(slot.current, rolls.generation):
                self.begin(slot)
        rolls.check_over()
        if rolls.plan.config.spare and crew.are_current(rolls.generation):
            self._spares.keep(rolls.generation)

    def _shed(self) -> None:
        """Have one worker less. It serves who is queued in its listeners before those close."""
        slot, workers = self._crew.shed()
        for worker in workers:
            worker.drain(self._now(), closes_own=True)
        self._keeper.leave(slot.number)

    def _interpreter(self, *, waits: bool = False) -> Interpreter:
        return Interpreter(self._command, environ=os.environ, cwd=self._cwd, waits=waits)

    def begin(self, slot: Slot) -> None:
        """Start a worker, unless one is coming already, or the next one is put off."""
        if slot.coming is not None or slot.retry is not None or self.is_ending:
            return
        plan = self._rolls.plan
        begin = Begin(
            version=VERSION,
            slot=slot.number,
            generation=self._rolls.generation,
            warns=slot is self._crew.slots[0],
            file=plan.file,
            inherited=[(each.fd, each.name) for each in self._keeper.inherited],
            silence_s=plan.config.silence_s,
            workers=plan.config.number,
            counts_together=AVAILABLE,
            number=self.started,
            introduces=True,
        )
        self.started += 1
        try:
            interpreter = self._spares.take(self._rolls.generation)
            slot.coming = WorkerProcess(interpreter, begin, self._listening, self._now())
        except OSError as error:
            _logger.error("cannot start a worker: %s", error.strerror or error)
            if not self.serves:
                self._could_not_start(ExitStatus.LIMITS)
            elif self._rolls.may_go_back:
                self._rolls.go_back("cannot be started")
            else:
                self._replace(slot, 0.0)

    # -- replacing -----------------------------------------------------------------------------------------------------

    def drain(self, pid: int) -> bool:
        """Replace one worker; return False when there is no such one, or it drains already."""
        for slot in self._crew.slots:
            if slot.current is not None and slot.current.pid == pid:
                slot.current.is_leaving = True
                self.settle()
                return True
        return False

    def leaves(self, worker: WorkerProcess, why: str) -> None:
        """A worker has said that it leaves, as of `Leaving`."""
        slot = self._crew.slot_of(worker)
        if slot is None or slot.current is not worker:
            return
        worker.is_leaving = True
        if why == "told":  # by a signal: it drains already
            worker.state = State.DRAINING
            worker.told_at = worker.told_at or self._now()
            slot.current = None
            self._crew.leaving.append(worker)
            self._was_told(slot, worker)
            return
        _logger.info("worker %d is replaced for its %s: process %d", slot.number, why, worker.pid)
        if worker.ready_at is not None and slot.coming is None and slot.retry is None:
            # One that leaves as soon as it serves has a successor that may do the same: each of them comes later.
            delay_s = slot.leavings.ended(self._now() - worker.ready_at)
            if delay_s:
                slot.put_off(delay_s, self.settle)
        self.settle()

    def _was_told(self, slot: Slot, worker: WorkerProcess) -> None:
        """Replace a worker that drains, unless the whole group of processes was told to end, and this one with it."""

        def tell() -> None:
            if not self.is_ending:
                _logger.info("worker %d is replaced, having been told to end: process %d", slot.number, worker.pid)

        asyncio.get_running_loop().call_later(TOLD_S, tell)
        if slot.coming is None and slot.retry is None:
            served_s = 0.0 if worker.ready_at is None else self._now() - worker.ready_at
            slot.put_off(max(TOLD_S, slot.leavings.ended(served_s)), self.settle)

    def ended(self, worker: WorkerProcess) -> None:
        """A worker has ended."""
        slot = self._crew.slot_of(worker)
        if worker in self._crew.leaving:
            self._crew.leaving.remove(worker)
        if slot is not None and slot.coming is worker:
            slot.coming = None
            self._did_not_start(slot, worker)
        elif slot is not None:
            slot.current = None
            if not self.is_ending:
                _logger.error("worker %d ended by itself: process %d, %s", slot.number, worker.pid, worker.end_in_words)
                assert worker.ready_at is not None
                self._replace(slot, self._now() - worker.ready_at, was_killed=worker.was_killed_by_others)

    def _did_not_start(self, slot: Slot, worker: WorkerProcess) -> None:
        if self.is_ending:
            return
        words = worker.end_in_words
        if not self.serves:
            self._could_not_start(worker.status or 0)
            return
        if self._rolls.may_go_back and worker.generation == self._rolls.generation:
            self._rolls.go_back(f"ended with {words}")
            return
        _logger.error("worker %d did not start: process %d, %s", slot.number, worker.pid, words)
        self._replace(slot, 0.0)

    def _replace(self, slot: Slot, served_s: float, *, was_killed: bool = False) -> None:
        slot.put_off(slot.restarts.ended(served_s, was_killed=was_killed), self.settle)
        if slot.restarts.is_hopeless and not any(slot.current for slot in self._crew.slots):
            _logger.critical(
                "giving up: %d workers in a row ended before they had served for ten seconds, and no other serves",
                slot.restarts.failures,
            )
            self._gives_up()

    def files_left(self) -> list[Key]:
        """Return which addresses with a file have no worker any more, once all workers are new."""
        if not self._crew.are_current(self._rolls.generation):
            return []
        return self._keeper.files_but({key for worker in self._crew.staying for key in worker.keys})

    def close_files(self) -> list[Key]:
        """Close those; return which. The workers before serve who has connected."""
        left = self.files_left()
        self._close_but(set(self._keeper.keys) - set(left))
        return left

    def close_unused(self) -> None:
        """Close the addresses that no worker of this generation listens on, once those before it have ended."""
        workers, generation = list(self._crew), self._rolls.generation
        if self.is_ending or self._rolls.is_rolling or any(each.generation != generation for each in workers):
            return
        serving = [worker for worker in workers if worker.state is State.SERVING]
        if serving and len(serving) >= len(self._crew.slots):
            self._close_but({key for worker in serving for key in worker.keys})

    def _close_but(self, used: Collection[Key]) -> None:
        for text in self._keeper.close_but(used):
            _logger.info("no longer listening on %s", text)
