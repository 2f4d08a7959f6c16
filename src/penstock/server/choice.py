"""Which engine serves, and why: decided once, at the start, and shown in the banner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..config import ServerConfig
from ..core.handlers import ConnectionHandler
from ..core.service import Service
from ..engines.base import Engine
from ..engines.registry import ENGINES, blocking, native, native_missing, pure
from ..errors import ConfigurationError
from .model import once, place


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine serves a service, and what it calls.

    Attributes:
        engine: The engine.
        reason: Why that one, in a few words.
        service: The service, with the handler that suits the concurrency model.
    """

    engine: Engine
    reason: str
    service: Service[Any]


def choose(service: Service[Any], config: ServerConfig) -> Choice:
    """Return the engine for a service.

    Raises:
        ConfigurationError: The engine that was asked for is not there, or the service and the model do not go together.
    """
    if config.model == "process" and config.engine == "native":
        raise ConfigurationError(
            "--model process has a loop for each connection, which the pure engine serves: leave --engine out"
        )
    placed = place(once(service) if config.once else service, config)
    return Choice(*_engine_for(placed, config.engine, is_alone=config.model == "process"), placed)


def _engine_for(service: Service[Any], wanted: str, *, is_alone: bool = False) -> tuple[Engine, str]:
    if wanted == "auto":
        handler = service.handler
        if isinstance(handler, ConnectionHandler) and not handler.is_async:
            return blocking(), "a def connection handler gets a thread of its own"
        if is_alone:
            return pure(), "each connection has a process, and a loop of its own there"
        missing = native_missing()
        if missing is not None:
            return pure(), f"{missing}, and this one runs everywhere"
        return native(), "compiled, the fastest"
    if wanted not in ENGINES:
        raise ConfigurationError(f"the {wanted} engine is not part of this installation; use --engine auto")
    if wanted == "native" and (missing := native_missing()) is not None:
        raise ConfigurationError(f"{missing}; use --engine auto")
    return ENGINES[wanted](), "asked for"
