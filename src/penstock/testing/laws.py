"""The law of a connection, run from its sources and as it was compiled: for tests that hold both to one model."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

from ..core.law import fresh


def interpreted() -> SimpleNamespace:
    """Return the modules of the law by their names, as engines in Python use them."""
    return _modules("penstock.core.law")


def compiled() -> SimpleNamespace:
    """Return the modules of the law by their names, as the native engine uses them."""
    return _modules("penstock.core.compiled_law")


def builds() -> dict[str, SimpleNamespace]:
    """Return every build of the law that is here: ``interpreted``, and ``compiled`` where there is one."""
    return {"interpreted": interpreted()} | ({"compiled": compiled()} if fresh.compiled() else {})


def _modules(package: str) -> SimpleNamespace:
    return SimpleNamespace(**{name: importlib.import_module(f"{package}.{name}") for name in fresh.NAMES})
