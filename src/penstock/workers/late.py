"""Workers that are late: with their start, their signs of life, or their end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable
from typing import Final

from ..config import WorkersConfig
from .messages import HANDOVER_S
from .process import State, WorkerProcess

# How often the workers are looked at.
LOOK_S: Final = 0.5

# After the deadline of a drain a worker cuts what is left, and ends; after so long more it is killed.
CUT_S: Final = 5.0

# A batch that is under way at the end of the time for a handover: `handing.ANSWER_S` and `BEGIN_S`, and some more.
BATCH_S: Final = 25.0

# A worker that was told to stop is ended by its own last resort after three seconds, which says who holds it.
STOP_S: Final = 4.0

# Between a request for the stacks of a worker that is held and its end.
LAST_WORDS_S: Final = 0.5

_logger: Final = logging.getLogger("penstock")


class Overseer:
    """Looks at the workers now and then, and kills those that are late.

    Args:
        workers: Returns them.
        config: Returns what they go by.
        look_for_ends: Notices those that have ended: a signal that says so may have met a lack of something.
    """

    def __init__(
        self,
        workers: Callable[[], Iterable[WorkerProcess]],
        config: Callable[[], WorkersConfig],
        look_for_ends: Callable[[], object],
    ) -> None:
        self._workers = workers
        self._config = config
        self._look_for_ends = look_for_ends
        self._timer: asyncio.TimerHandle | None = None
        self._looked_at = 0.0

    def start(self) -> None:
        """Begin, on the running loop."""
        self._looked_at = asyncio.get_running_loop().time()
        self._again()

    def end(self) -> None:
        """Look no more. May be repeated."""
        if self._timer is not None:
            self._timer.cancel()

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look_at_all)

    def _look_at_all(self) -> None:
        now = asyncio.get_running_loop().time()
        # A supervisor that did not run, stopped or suspended with its machine, has heard nothing for that long.
        late_s, self._looked_at = now - self._looked_at - LOOK_S, now
        self._again()
        self._look_for_ends()
        for worker in list(self._workers()):
            if late_s > LOOK_S:
                worker.heard_at += late_s
            if not worker.was_killed:
                self._look_at(worker, now)

    def _look_at(self, worker: WorkerProcess, now: float) -> None:
        config = self._config()
        if worker.told_at is not None:
            if _is_overdue(worker, now - worker.told_at):
                _logger.error("worker %d is killed: process %d has not ended in time", worker.slot, worker.pid)
                worker.kill()
        elif worker.state is State.STARTING and config.start_s is not None:
            if now - worker.started_at > config.start_s:
                _logger.error("worker %d is killed: process %d is not ready in time", worker.slot, worker.pid)
                worker.kill()
        elif worker.state is State.SERVING and config.silence_s is not None:
            silent_s = now - worker.heard_at
            if silent_s > config.silence_s:
                _logger.error(
                    "worker %d is killed: the loop of process %d was held for %.1f s", worker.slot, worker.pid, silent_s
                )
                worker.was_killed = True
                worker.signal(signal.SIGQUIT)  # what holds it is written by its signal handler
                asyncio.get_running_loop().call_later(LAST_WORDS_S, worker.kill)


def _is_overdue(worker: WorkerProcess, since_s: float) -> bool:
    """Say whether a worker has not ended so long after it was told to."""
    if worker.is_stopping or worker.ready is None:
        return since_s > STOP_S
    handover_s = 0.0 if worker.hands_over_at is None else HANDOVER_S + BATCH_S
    return worker.ready.drain_s is not None and since_s > handover_s + worker.ready.drain_s + CUT_S
