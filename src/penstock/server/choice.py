"""Which engine serves, and why: decided once, at the start, and shown in the banner."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..config import ServerConfig
from ..core.service import ConnectionHandler, Service
from ..errors import ConfigurationError
from .model import once, place

if TYPE_CHECKING:
    from ..engines.base import Engine


def _pure() -> Engine:
    from ..engines.pure.engine import PureEngine  # noqa: PLC0415 - an engine is imported when it is chosen

    return PureEngine()


def _native() -> Engine:
    from ..engines.native.engine import NativeEngine  # noqa: PLC0415 - an engine is imported when it is chosen

    return NativeEngine()


def _blocking() -> Engine:
    from ..engines.blocking.engine import BlockingEngine  # noqa: PLC0415 - an engine is imported when it is chosen

    return BlockingEngine()


ENGINES: dict[str, Callable[[], Engine]] = {"native": _native, "pure": _pure, "blocking": _blocking}


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
    placed = place(once(service) if config.once else service, config)
    return Choice(*_engine_for(placed, config.engine), placed)


def _engine_for(service: Service[Any], wanted: str) -> tuple[Engine, str]:
    if wanted == "auto":
        handler = service.handler
        if isinstance(handler, ConnectionHandler) and not handler.is_async:
            return _blocking(), "a def connection handler gets a thread of its own"
        missing = native_missing()
        if missing is not None:
            return _pure(), f"{missing}, and this one runs everywhere"
        return _native(), "compiled, the fastest"
    if wanted not in ENGINES:
        raise ConfigurationError(f"the {wanted} engine is not part of this installation; use --engine auto")
    if wanted == "native" and (missing := native_missing()) is not None:
        raise ConfigurationError(f"{missing}; use --engine auto")
    return ENGINES[wanted](), "asked for"


def native_missing() -> str | None:
    """Return why the native engine cannot be used here, in a few words; None when it can."""
    if sys.platform != "linux":
        return "the native engine needs Linux"
    try:
        import_module("penstock.engines.native.engine")
    except ImportError as error:
        # Without its name it is the extension that is there and does not load: built for another Python, say.
        if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("penstock.engines.native"):
            return "the native engine was not built: no C compiler"
        return f"the native engine does not load ({error})"
    return None
