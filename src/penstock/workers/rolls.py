"""What the workers go by, and how it changes: every worker is replaced by one of a newer generation, or none is."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Final

from ..engines.aside import aside
from ..errors import ConfigurationError
from .crew import Crew
from .plan import WorkersPlan

_logger: Final = logging.getLogger("penstock")


class Rolls:
    """Has one roll at a time. It starts and ends no worker: what there has to be, ``settle`` brings about.

    Args:
        plan: What the workers begin with.
        reread: Reads the configuration again. Called in a thread.
        crew: The workers.
        settle: Called when there is another generation, newer or, where a roll is given up, older.
        may_begin: Says whether a roll may begin.
        on_roll: Told that one begins, and that it is over.

    Attributes:
        plan: What the workers go by.
        generation: How many rolls there were.
        is_rolling: Whether there is one.
    """

    def __init__(
        self,
        plan: WorkersPlan,
        reread: Callable[[], WorkersPlan],
        crew: Crew,
        *,
        settle: Callable[[], object],
        may_begin: Callable[[], bool],
        on_roll: Callable[[bool], object],
    ) -> None:
        self.plan = plan
        self.generation = 0
        self.is_rolling = False
        self._reread = reread
        self._crew = crew
        self._settle = settle
        self._may_begin = may_begin
        self._on_roll = on_roll
        self._before: WorkersPlan | None = None  # while the roll may still be given up
        self._reads = self._again = self._has_ended = False
        self._goes_on = False  # the roll before this one is not over: it goes on if this one fails
        self._count: int | None = None  # of workers, where that was said while the configuration is read
        self._task: asyncio.Task[None] | None = None
        # Each waits for the roll that began after it was asked for: the next one, this one, or the one before.
        self._asked_next: list[asyncio.Future[str]] = []
        self._asked: list[asyncio.Future[str]] = []
        self._asked_before: list[asyncio.Future[str]] = []

    @property
    def may_go_back(self) -> bool:
        """Whether no worker of the newest generation has served yet, and those before it still do."""
        return self._before is not None

    def begin(self) -> None:
        """Begin a roll, unless none may. While the first worker of one is not ready, another one is put off."""
        if not self._may_begin():
            return
        if self._before is not None or self._reads:
            self._again = True
            return
        self._goes_on = self.is_rolling
        self._asked_before += self._asked
        self._asked, self._asked_next = self._asked_next, []
        self._count = None
        self.is_rolling = self._reads = True
        self._on_roll(True)
        self._task = asyncio.get_running_loop().create_task(self._roll(), name="penstock-roll")

    async def outcome(self) -> str:
        """As `begin`; return what came of the roll that reads the configuration after this, once it is over.

        Raises:
            ConfigurationError: The workers stay as they were.
        """
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked_next.append(outcome)
        self._begin_next()
        return await outcome

    def _begin_next(self) -> None:
        self.begin()
        if not self._again:  # nor has it begun, where somebody is left who has asked for it
            refused, self._asked_next = self._asked_next, []
            _say(refused, ConfigurationError("there is no roll now: the server starts, or ends"))

    def scale(self, count: int) -> None:
        """Have so many workers from now on, whatever comes of the roll that is under way.

        Raises:
            ConfigurationError: It is not from 1 to 1,024.
        """
        self.plan = _with_count(self.plan, count)
        if self._before is not None:
            self._before = _with_count(self._before, count)
        if self._reads:
            self._count = count

    async def _roll(self) -> None:
        try:
            plan = await aside(self._reread, "penstock-configuration")
        except Exception as error:
            if self._has_ended:
                return
            known = isinstance(error, ConfigurationError | RuntimeError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            _logger.error("the workers stay as they are: %s", "; ".join(text.splitlines()))
            self._over(ConfigurationError(text))
            self.check_over()  # of the one before: its last worker may have become ready meanwhile
            return
        if self._has_ended:
            return
        self._reads = False
        self._before, self.plan = self.plan, plan if self._count is None else _with_count(plan, self._count)
        self.generation += 1
        self._crew.begin_anew()
        _logger.info("reloading: workers of generation %d are started", self.generation)
        self._settle()

    def worker_serves(self, generation: int) -> None:
        """A worker serves. If it is of the newest generation, there is no way back."""
        if generation == self.generation:
            self._before = None

    def check_over(self) -> None:
        """The roll is over once a worker of the newest generation serves in each slot."""
        if not self.is_rolling or self._reads or not self._crew.are_current(self.generation):
            return
        count = len(self._crew.slots)
        drained = sum(worker.connections for worker in self._crew.leaving)
        workers = "1 worker of generation {} serves" if count == 1 else f"{count} workers of generation {{}} serve"
        text = workers.format(self.generation)
        _logger.info("reloaded: %s; those before drain, with %d connections", text, drained)
        self._over(text)

    def go_back(self, why: str) -> None:
        """Give the roll up: go on with the plan before, and have workers of the generation before in every slot."""
        assert self._before is not None
        _logger.error("the new code is not served: its first worker %s; those before go on", why)
        self.plan = self._before
        self.generation -= 1
        self._over(ConfigurationError(f"the new code is not served: its first worker {why}"))
        self._settle()

    def server_ends(self) -> None:
        """There is no roll any more: those who wait for the outcome of one are told."""
        self._has_ended = True
        self.is_rolling = self._reads = self._again = self._goes_on = False
        self._before = None
        asked = [*self._asked_before, *self._asked, *self._asked_next]
        self._asked_before, self._asked, self._asked_next = [], [], []
        _say(asked, ConfigurationError("the server ends"))

    def cancel(self) -> None:
        """All has ended."""
        if self._task is not None:
            self._task.cancel()

    def _over(self, outcome: str | Exception) -> None:
        """The roll is over. One that fails is none: that before it goes on, if it was not over."""
        self._reads, self._before = False, None
        self.is_rolling = self._goes_on and isinstance(outcome, Exception)
        self._goes_on = False
        asked, self._asked = self._asked, []
        before, self._asked_before = self._asked_before, []
        if self.is_rolling:
            self._asked = before
        else:
            asked += before
            self._on_roll(False)
        _say(asked, outcome)
        if self._again:
            self._again = False
            self._begin_next()


def _with_count(plan: WorkersPlan, count: int) -> WorkersPlan:
    return WorkersPlan(dataclasses.replace(plan.config, count=count), plan.document)


def _say(asked: list[asyncio.Future[str]], outcome: str | Exception) -> None:
    for future in asked:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
