"""Twisted's reactor is the server's, wherever it is imported first; nothing here imports Twisted before that."""

from __future__ import annotations

import asyncio
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

from ..errors import ApplicationError

_REACTOR: Final = "twisted.internet.reactor"


def is_twisted(target: object) -> bool:
    """Whether it is a factory of Twisted's protocols, or the class of a factory or a protocol."""
    module = sys.modules.get("twisted.internet.protocol")  # without it there is none
    if module is None:
        return False
    if isinstance(target, type):
        return issubclass(target, (module.Factory, module.BaseProtocol))
    return isinstance(target, module.Factory)


def install() -> Any:
    """Return Twisted's reactor: the server's, or one that the program has installed on the loop that runs.

    Raises:
        ApplicationError: There is no Twisted, or its reactor is not on this loop, so that it would never call anything.
    """
    found = sys.modules.get(_REACTOR)
    if found is None:
        try:
            from .twisted_reactor import make  # noqa: PLC0415  # which needs Twisted
        except ModuleNotFoundError as error:
            raise ApplicationError(f"{error}: pip install twisted") from error
        return make()
    from twisted.internet.asyncioreactor import AsyncioSelectorReactor  # noqa: PLC0415  # it is imported by now

    from .twisted_reactor import ServersReactor  # noqa: PLC0415  # which needs Twisted

    if isinstance(found, ServersReactor):
        return found
    loop = found._asyncioEventloop if isinstance(found, AsyncioSelectorReactor) else None  # noqa: SLF001 - it has no other
    if loop is None or loop is not asyncio._get_running_loop():  # noqa: SLF001 - the public one raises where there is none
        raise ApplicationError(
            f"Twisted's reactor is {type(found).__name__}, which has a loop of its own: call "
            "penstock.adapters.install_reactor() before anything imports twisted.internet.reactor"
        )
    return found


@contextmanager
def on_import() -> Iterator[None]:
    """Have what imports ``twisted.internet.reactor`` in the meantime find the server's."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the reactor where Twisted would make its default one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for the one name."""
        return importlib.machinery.ModuleSpec(fullname, self) if fullname == _REACTOR else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the reactor in the module's place, as Twisted does."""
        del sys.modules[_REACTOR]
        install()
