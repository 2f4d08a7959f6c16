"""Packages whose names are imported when they are first used: what a program does not use it does not wait for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def import_on_first_use(namespace: dict[str, Any], homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package (PEP 562).

    Args:
        namespace: The package's ``globals()``. A name is set there once it was imported.
        homes: The module of each name, relative to the package.

    Returns:
        A function that imports a name, and raises AttributeError for one that has no home.
    """
    package = namespace["__name__"]

    def import_name(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = namespace[name] = getattr(importlib.import_module(f".{home}", package), name)
        return value

    return import_name
