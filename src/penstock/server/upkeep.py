"""What runs beside a server while it serves: files of networks are followed, memory is read, the loop is watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ..config import ServerConfig
from ..core.events import Event, Stalled, StallEnded
from ..core.gate import Gate
from ..engines.base import EngineServer
from .access_files import AccessFiles
from .memory import follow_memory, memory_of
from .shared import Shared
from .watchdog import Watchdog


class Upkeep:
    """The helpers of one server. All methods belong to the loop's thread.

    Args:
        config: Says which of them there are.
        shared: Says which of them another server of the application has for all.
        gate: Told of networks and of memory.
        emit: Told of events.
    """

    def __init__(self, config: ServerConfig, shared: Shared, gate: Gate, emit: Callable[[Event], None]) -> None:
        self._config = config
        self._shared = shared
        self._gate = gate
        self._emit = emit
        self._memory: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None
        self._certificates: asyncio.Task[None] | None = None
        self._watchdog: Watchdog | None = None
        self._is_over = False

    def prepare(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the thread that it needs.

        Raises:
            LimitError: The system gives none.
        """
        self._is_over = False
        stall_s = self._config.overload.stall_s
        if stall_s is not None and self._shared.watches_loop:
            self._watchdog = Watchdog(loop, stall_s, self._stalled, self._stall_ended)
            self._watchdog.prepare()

    def start(self, loop: asyncio.AbstractEventLoop, engine: EngineServer) -> None:
        """Read memory and watch the loop from now on."""
        memory = memory_of(self._config.overload)
        if memory is not None:
            emit = self._emit if self._shared.watches_loop else _tell_nobody
            reading = follow_memory(memory, self._gate, engine, emit, share=self._shared.servers)
            self._memory = loop.create_task(reading)
        if self._watchdog is not None:
            self._watchdog.start()

    def follow(self, loop: asyncio.AbstractEventLoop, access: AccessFiles, before: Any) -> None:
        """Look for changes of the files of networks from now on, in place of those before; after the end, no more.

        Args:
            loop: The running loop.
            access: The files.
            before: Their signature from before they were read.
        """
        if self._follower is not None:
            self._follower.cancel()
        follows = access.paths and self._shared.begins_gate and not self._is_over  # a shared gate has one who does
        self._follower = loop.create_task(access.follow(self._gate, before)) if follows else None

    def follow_certificates(self, loop: asyncio.AbstractEventLoop, following: Coroutine[Any, Any, None]) -> None:
        """Look for changes of the files of certificates, in place of those before; after the end, no more."""
        if self._is_over:
            following.close()
            return
        if self._certificates is not None:
            self._certificates.cancel()
        self._certificates = loop.create_task(following)

    def stop(self) -> None:
        """End all of it. May be repeated; after `prepare` it may begin again."""
        self._is_over = True
        for helper in (self._memory, self._follower, self._certificates):
            if helper is not None:
                helper.cancel()
        if self._watchdog is not None:
            self._watchdog.stop()

    def _stalled(self, frames: Sequence[str]) -> None:
        self._emit(Stalled(frames))

    def _stall_ended(self, duration_s: float) -> None:
        self._emit(StallEnded(duration_s))


def _tell_nobody(_event: Event) -> None:
    """Another server of the application tells of it."""
