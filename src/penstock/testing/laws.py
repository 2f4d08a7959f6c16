"""The law of a connection, run from its sources and as it was compiled: for tests that hold both to one model."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

from ..core.law import fresh

_ALIAS = "penstock.core.interpreted_law"


def interpreted() -> SimpleNamespace:
    """Return the modules of the law by their names, run from their sources, beside whatever is loaded compiled."""
    if _ALIAS not in sys.modules:
        package = ModuleType(_ALIAS)
        package.__spec__ = ModuleSpec(_ALIAS, None, is_package=True)
        package.__path__ = []
        sys.modules[_ALIAS] = package
        for name in fresh.NAMES:
            fresh.load(f"{_ALIAS}.{name}", fresh.FOLDER / f"{name}.py")
    return SimpleNamespace(**{name: sys.modules[f"{_ALIAS}.{name}"] for name in fresh.NAMES})


def loaded() -> SimpleNamespace:
    """Return the modules of the law by their names, as engines use them."""
    return SimpleNamespace(**{name: importlib.import_module(f"penstock.core.law.{name}") for name in fresh.NAMES})


def builds() -> dict[str, SimpleNamespace]:
    """Return every build of the law that is here: ``interpreted``, and ``compiled`` where there is one."""
    return {"interpreted": interpreted()} | ({"compiled": loaded()} if fresh.compiled() else {})
