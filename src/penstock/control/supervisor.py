"""What a supervisor answers over its control socket, for itself and for all of its workers."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import msgspec

from .. import __version__
from ..config import LogLevel
from ..errors import ConfigurationError
from ..server.memory import resident_bytes
from ..server.work import threads_now
from ..workers.messages import Answered, Ask
from ..workers.process import State, WorkerProcess
from ..workers.supervisor import Supervisor
from . import limits
from .connections import check_order, ordered
from .kept import Kept
from .messages import (
    VERSION,
    AnyRequest,
    Connections,
    Drain,
    Kick,
    Limits,
    Reload,
    Row,
    Scale,
    Stacks,
    Status,
    Stop,
    Workers,
)
from .messages import LogLevel as LevelRequest
from .process import level_of

_logger: Final = logging.getLogger("penstock")

# A worker whose loop is held does not answer; the others have by then.
PATIENCE_S: Final = 5.0


class SupervisorControl:
    """A supervisor.

    Args:
        supervisor: It. What its workers answer is heard here from now on.
        set_level: As of `ProcessControl`.
    """

    def __init__(self, supervisor: Supervisor, set_level: Callable[[LogLevel], bool]) -> None:
        self._supervisor = supervisor
        self._set_level = set_level
        self._began = time.monotonic()
        self._asked: dict[int, asyncio.Future[Answered]] = {}
        self._number = 0
        self._limits, self._levels = Kept(), Kept()
        self._setting = asyncio.Lock()  # what held before is read first
        self._set_up: set[asyncio.Task[None]] = set()
        supervisor.on_answer = self._answered
        supervisor.on_serving = self._serves

    async def answer(self, request: AnyRequest) -> tuple[Any, Sequence[Row]]:
        """Do what is asked; return the result, and rows.

        Raises:
            ConfigurationError: It cannot be done, for this reason.
        """
        match request:
            case Connections():
                return await self._connections(request)
            case Status():
                return await self._status(), ()
            case Kick():
                return await self._kick(request), ()
            case Limits():
                return await self._set_limits(request), ()
            case LevelRequest():
                return await self._set_levels(request), ()
            case Stacks():
                return await self._stacks(request), ()
            case Reload():
                return {"reloaded": await self._supervisor.reloaded()}, ()
        return self._at_once(request), ()

    def _at_once(self, request: AnyRequest) -> Any:
        supervisor = self._supervisor
        match request:
            case Workers():
                return {"workers": [asdict(worker) for worker in supervisor.workers]}
            case Drain(worker=int(worker)):
                if not supervisor.drain(worker):
                    raise ConfigurationError(f"there is no worker {worker} that serves")
                return {"draining": next((each.connections for each in supervisor.workers if each.pid == worker), 0)}
            case Drain():
                supervisor.begin_drain()
                return {"draining": self._open}
            case Stop():
                aborted = self._open
                supervisor.begin_stop()
                return {"aborted": aborted}
            case Scale():
                supervisor.scale(request.workers)
                return {"workers": supervisor.wanted}
        raise ConfigurationError("that is not known here")

    @property
    def _open(self) -> int:
        return sum(worker.connections for worker in self._supervisor.workers)

    # -- what workers are asked ----------------------------------------------------------------------------------------

    async def _ask(self, request: AnyRequest) -> tuple[list[Answered], list[int]]:
        """Ask every worker that serves or drains; return the answers, and which have not answered in time.

        Raises:
            ConfigurationError: A worker refuses.
        """
        text = _text(request)
        wanted = getattr(request, "worker", None)
        able = [
            worker
            for worker in self._supervisor.processes
            if worker.state in (State.SERVING, State.DRAINING) and wanted in (None, worker.pid)
        ]
        waiting = {self._put(worker, text): worker for worker in able}
        done, late = await asyncio.wait(waiting, timeout=PATIENCE_S) if waiting else ((), ())
        for future in late:
            future.cancel()
        answers = [future.result() for future in done if not future.cancelled()]
        refusal = next((each.error for each in answers if each.error is not None), None)
        if refusal is not None:
            raise ConfigurationError(refusal)
        return answers, sorted(waiting[future].pid for future in late)

    def _put(self, worker: WorkerProcess, text: str) -> asyncio.Future[Answered]:
        self._number += 1
        number = self._number
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: self._asked.pop(number, None))
        worker.send(Ask(number=number, request=text))
        return future

    def _answered(self, message: Answered) -> None:
        future = self._asked.get(message.number)
        if future is not None and not future.done():
            future.set_result(message)

    def _serves(self, worker: WorkerProcess) -> None:
        """A worker serves: it goes by what was set before, where its configuration is as it was then."""
        # Asked now, before anything can be set: it says what is configured.
        asked = [self._put(worker, _text(request)) for request in (Limits(), LevelRequest())]
        task = asyncio.get_running_loop().create_task(self._bring_up(worker, *asked), name="penstock-control")
        self._set_up.add(task)
        task.add_done_callback(self._set_up.discard)

    async def _bring_up(
        self, worker: WorkerProcess, limits: asyncio.Future[Answered], level: asyncio.Future[Answered]
    ) -> None:
        answers = [limits, level]
        while (await asyncio.wait(answers, timeout=PATIENCE_S))[1]:
            if worker.state is State.ENDED:
                for answer in answers:
                    answer.cancel()
                return
        if any(answer.result().error is not None for answer in answers):
            return
        configured, levels = limits.result().result, {"": level.result().result}
        requests: list[AnyRequest] = [
            Limits(set=dict(texts), service=service) for service, texts in self._limits.of(configured).items()
        ]
        requests += [LevelRequest(level=texts["level"]) for texts in self._levels.of(levels).values()]
        for request in requests:
            self._put(worker, _text(request))

    # -- what is put together ------------------------------------------------------------------------------------------

    async def _status(self) -> dict[str, Any]:
        answers, late = await self._ask(Status())
        supervisor = self._supervisor
        services: dict[str, dict[str, Any]] = {}
        for answer in answers:
            for name, facts in answer.result["services"].items():
                services[name] = _sum(services[name], facts) if name in services else facts
        state = "draining" if supervisor.is_ending else "serving" if supervisor.addresses else "starting"
        return {
            "protocol": VERSION,
            "version": __version__,
            "name": supervisor.ready.name if supervisor.addresses else "",
            "pid": os.getpid(),
            "state": state,
            "uptime_s": round(time.monotonic() - self._began, 3),
            "memory_bytes": resident_bytes(),
            "connections": sum(facts["connections"] for facts in services.values()),
            "workers": len(answers),
            "unanswered": late,
            "services": services,
        }

    async def _connections(self, request: Connections) -> tuple[Any, list[Row]]:
        check_order(request)
        answers, late = await self._ask(request)
        rows = [msgspec.convert(row, Row) for answer in answers for row in answer.rows]
        return {
            "total": sum(answer.result["total"] for answer in answers),
            "unanswered": late,
        }, ordered(rows, request)

    async def _kick(self, request: Kick) -> dict[str, Any]:
        if request.ids is not None and request.worker is None:
            raise ConfigurationError("each worker has numbers of its own: say which worker, too")
        answers, late = await self._ask(request)
        return {"kicked": sum(answer.result["kicked"] for answer in answers), "unanswered": late}

    async def _set_limits(self, request: Limits) -> Any:
        limits.parsed(request.set)
        async with self._setting:
            await self._all_set_up()
            before = await self._held(Limits(service=request.service))
            if not request.set:
                return before
            answers, _ = await self._ask(request)
            self._limits.keep(request.set, before)
            return _of_all(answers)

    async def _set_levels(self, request: LevelRequest) -> Any:
        level = level_of(request.level)
        async with self._setting:
            await self._all_set_up()
            before = await self._held(LevelRequest())
            if level is None:
                return before
            self._set_level(level)
            answers, _ = await self._ask(request)
            if before:
                self._levels.keep({"level": level}, {"": before})
            return answers[0].result if answers else {"level": level}

    async def _all_set_up(self) -> None:
        """Wait for workers that have begun to serve: what is set now comes after their configuration."""
        if self._set_up:
            await asyncio.wait(self._set_up, timeout=PATIENCE_S)

    async def _held(self, request: AnyRequest) -> Any:
        """Return what the workers of the newest generation say."""
        answers, _ = await self._ask(request)
        generations = {worker.pid: worker.generation for worker in self._supervisor.processes}
        newest = max((generations.get(each.pid, -1) for each in answers), default=-1)
        return _of_all([each for each in answers if generations.get(each.pid, -1) == newest])

    async def _stacks(self, request: Stacks) -> dict[str, list[str]]:
        answers, late = await self._ask(request)
        work, threads = [f"worker {pid} does not answer: its loop is held" for pid in late], threads_now()
        for answer in answers:
            work += [f"worker {answer.pid}: {line}" for line in answer.result["work"]]
            threads += [f"worker {answer.pid}:", *answer.result["threads"]]
        return {"work": work, "threads": threads}


def _of_all(answers: Sequence[Answered]) -> dict[str, Any]:
    """Return what workers answer that have the same to say; one that has fewer services says less."""
    found: dict[str, Any] = {}
    for answer in answers:
        found.update(answer.result)
    return found


def _text(request: AnyRequest) -> str:
    return msgspec.json.encode(request).decode()


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Add up what two workers say of a service; what is no count is the same of both, or the first one's."""
    added: dict[str, Any] = dict(one)
    for name, value in other.items():
        if name == "max_connections":
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            added[name] = one[name] + value
        elif isinstance(value, dict):
            added[name] = dict(Counter(one[name]) + Counter(value))
    return added
