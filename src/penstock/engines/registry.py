"""The engines by name. Each is imported when it is asked for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Final

from .base import Engine, LoopEngine, ThreadEngine


def native() -> LoopEngine:
    """Return the compiled engine.

    Raises:
        ImportError: It was not built, or does not load.
    """
    from .native.engine import NativeEngine  # noqa: PLC0415 - an engine is imported when it is chosen

    return NativeEngine()


def pure() -> LoopEngine:
    """Return the engine in Python, for any loop."""
    from .pure.engine import PureEngine  # noqa: PLC0415 - an engine is imported when it is chosen

    return PureEngine()


def blocking() -> ThreadEngine:
    """Return the engine of threads."""
    from .blocking.engine import BlockingEngine  # noqa: PLC0415 - an engine is imported when it is chosen

    return BlockingEngine()


ENGINES: Final[dict[str, Callable[[], Engine]]] = {"native": native, "pure": pure, "blocking": blocking}


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


def of_loop(loop: asyncio.AbstractEventLoop) -> LoopEngine:
    """Return the engine of a client's connections in a loop: the compiled one where that runs the loop."""
    selector = sys.modules.get(
        "penstock.engines.native.polling.selector"
    )  # no loop can have one before that was imported
    runs_native = selector is not None and isinstance(getattr(loop, "_selector", None), selector.NativeSelector)
    return native() if runs_native and native_missing() is None else pure()
