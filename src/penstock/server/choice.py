"""Which engine serves, and why: decided once, at the start, and shown in the banner."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from ..config import ServerConfig
from ..core.service import ConnectionHandler, Service
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Any

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


def choose(service: Service[Any], config: ServerConfig) -> tuple[Engine, str]:
    """Return the engine for a service, and the reason in a few words.

    Raises:
        ConfigurationError: The engine that was asked for is not there.
    """
    wanted = config.engine
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
            return "the native engine was not built, for want of a C compiler"
        return f"the native engine does not load ({error})"
    return None
