"""What one process answers over its control socket."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from .. import __version__
from ..config import LogLevel
from ..errors import ConfigurationError
from ..server.beside import Steered
from ..server.memory import resident_bytes
from ..server.server import Server
from ..server.work import threads_now, work_of
from . import limits
from .connections import listed, select
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

LEVELS: Final[tuple[LogLevel, ...]] = ("debug", "info", "warning", "error", "critical")
_ALONE: Final = "there is no supervisor: this server is one process"


class Controlled(Protocol):
    """What answers requests: a process, or a supervisor for all of its workers."""

    async def answer(self, request: AnyRequest) -> tuple[Any, Sequence[Row]]:
        """Do what is asked; return the result, and rows.

        Raises:
            ConfigurationError: It cannot be done, for this reason.
        """


class ProcessControl:
    """One process that serves.

    Args:
        steered: What it is there for.
        set_level: Has the log written from a level on; returns False where a file has set up logging.
    """

    def __init__(self, steered: Steered, set_level: Callable[[LogLevel], bool]) -> None:
        self._steered = steered
        self._set_level = set_level
        self._began = time.monotonic()
        self._everything = steered.life.servers
        self._servers = {name: each for name, each in self._everything.items() if not each.is_elsewhere}

    async def answer(self, request: AnyRequest) -> tuple[Any, Sequence[Row]]:
        """Do what is asked; return the result, and rows.

        Raises:
            ConfigurationError: It cannot be done, for this reason.
        """
        match request:
            case Connections():
                rows, total = await listed(self._servers, request)
                return {"total": total}, rows
            case Kick():
                return {"kicked": await self._kick(request)}, ()
            case Reload():
                return await self._reload(), ()
        return self._at_once(request), ()

    def _at_once(self, request: AnyRequest) -> Any:
        match request:
            case Status():
                return self.status()
            case Workers() | Scale():
                raise ConfigurationError(_ALONE)
            case Drain() if request.worker not in (None, os.getpid()):
                raise ConfigurationError(f"there is no worker {request.worker}: {_ALONE}")
            case Drain():
                self._steered.life.begin_drain()
                return {"draining": self._connections}
            case Stop():
                aborted = self._connections
                self._steered.life.begin_stop()
                return {"aborted": aborted}
            case Limits():
                return self._limits(request)
            case LevelRequest():
                return self._level(request.level)
            case Stacks():
                lines = work_of(list(self._servers.values()), asyncio.get_running_loop())
                return {"work": lines, "threads": threads_now()}
        raise ConfigurationError("that is not known here")

    @property
    def _connections(self) -> int:
        return sum(len(server.connections) for server in self._servers.values())

    @property
    def _state(self) -> str:
        if self._steered.life.is_ending:
            return "draining"
        return "serving" if self._steered.life.addresses else "starting"

    def status(self) -> dict[str, Any]:
        """Say how it is."""
        return {
            "protocol": VERSION,
            "version": __version__,
            "name": self._steered.name,
            "pid": os.getpid(),
            "state": self._state,
            "uptime_s": round(time.monotonic() - self._began, 3),
            "memory_bytes": resident_bytes(),
            "connections": self._connections,
            "services": {name: _service(server) for name, server in self._servers.items()},
        }

    async def _kick(self, asked: Kick) -> int:
        if asked.is_everything != asked.all:
            raise ConfigurationError(
                "say which connections are meant: ids, or a filter; or all"
                if not asked.all
                else "all, or some: not both"
            )
        kicked = 0
        async for conn, row in select(self._servers, asked):
            if row.state == "closed":
                continue  # its handler is at work still, its peer has gone
            if asked.abort:
                conn.abort()
            else:
                conn.close(detail="kicked")
            kicked += 1
        return kicked

    async def _reload(self) -> dict[str, str]:
        if self._steered.reload is None:
            raise ConfigurationError("the configuration is the program's own: there is nothing to read again")
        return {"reloaded": await self._steered.reload()}

    def _limits(self, asked: Limits) -> dict[str, dict[str, str]]:
        if asked.service is not None and asked.service not in self._everything:
            raise ConfigurationError(f"there is no service {asked.service!r}; there are {', '.join(self._servers)}")
        servers = {name: each for name, each in self._servers.items() if asked.service in (None, name)}
        values = limits.parsed(asked.set)
        for server in servers.values():
            limits.check(server, values)
        for server in servers.values():
            if values:
                server.gate.set(**values)
        return {name: limits.limits_of(server) for name, server in servers.items()}

    def _level(self, level: str | None) -> dict[str, str]:
        found = level_of(level)
        if found is not None and not self._set_level(found):
            raise ConfigurationError("logging was set up by a file, and has levels of its own")
        return {"level": logging.getLevelName(logging.getLogger("penstock").getEffectiveLevel()).lower()}


def level_of(text: str | None) -> LogLevel | None:
    """Return the level that is written; None for none.

    Raises:
        ConfigurationError: There is no such level.
    """
    if text is None:
        return None
    for level in LEVELS:
        if level == text.lower():
            return level
    raise ConfigurationError(f"{text!r} is no level: {', '.join(LEVELS)}")


def _service(server: Server) -> dict[str, Any]:
    stats = server.stats
    return {
        "addresses": list(server.addresses),
        "codec": server.service.codec.name,
        "engine": server.engine_name,
        "model": server.config.model,
        "in_one_worker": server.is_in_one,
        "connections": len(server.connections),
        "max_connections": server.gate.rules.max_connections,
        "orphans": len(server.orphans),
        "accepted": stats.accepted,
        "refused": dict(stats.refused),
        "closed": dict(stats.closed),
        "messages_in": server.messages_in,
        "messages_out": server.messages_out,
        "messages_dropped": dict(stats.messages_dropped),
        "datagrams": stats.datagrams,
        "datagrams_dropped": dict(stats.datagrams_dropped),
        "handler_errors": stats.handler_errors,
        "accept_errors": dict(stats.accept_errors),
        "stalls": stats.stalls,
    }
