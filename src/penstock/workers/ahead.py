"""What a worker imports before it is told which one it is: all that every worker needs, and nothing of the user's."""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import Final

from ..engines.registry import native_missing
from ..services import all as all_services

# As the command imports them on its way from the first message to serving, in both of its ways.
_ALWAYS: Final = (
    "asyncio",
    "resource",
    "penstock.app.api",
    "penstock.server",
    "penstock.server.forking.nursery",
    "penstock.adapters",
    "penstock.core.shared_counts",
    "penstock.workers.cells",
    "penstock.workers.mesh.mesh",
)
_OF_ENGINE: Final = {
    "native": ("penstock.engines.native.engine",),
    "pure": ("penstock.engines.pure.engine", "penstock.engines.pure.server"),
    "blocking": ("penstock.engines.blocking.engine", "penstock.engines.blocking.server"),
}


def import_ahead(engine: str) -> None:
    """Import what a worker needs whose engine is this one, as far as that can be said before."""
    if engine not in _OF_ENGINE:
        engine = "native" if native_missing() is None else "pure"
    for name in (*_ALWAYS, *_OF_ENGINE[engine]):
        # What cannot be imported is not part of this installation, or says so where it is needed.
        with contextlib.suppress(ImportError):
            import_module(name)
    all_services()  # the command that a worker runs knows them by name
