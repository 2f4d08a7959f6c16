"""The engines that a test runs on, each with the loop it runs beside."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ..engines.registry import ENGINES

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _uvloop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    return loop


def _native() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = importlib.import_module("penstock.engines.native.engine").new_event_loop()
    return loop


def _eager(factory: LoopFactory) -> LoopFactory:
    """Make loops whose tasks begin to run when they are made, as an application may have it."""

    def make() -> asyncio.AbstractEventLoop:
        loop = factory()
        loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - CPython 3.12
        return loop

    return make


@dataclass(frozen=True)
class EngineUnderTest:
    """An engine, and the loop it runs beside.

    Attributes:
        label: What test ids call it.
        name: What ``--engine`` calls it.
        needs: A module that has to be there.
        loop_factory: Makes the loop.
        tapped: Every connection has a layer over its link, by which all its bytes are counted.
        ciphered: Every connection speaks TLS.
        in_memory: Its TLS is Python's `ssl` alone, as where compiled code is not known to be right.
    """

    label: str
    name: str
    needs: str
    loop_factory: LoopFactory = asyncio.SelectorEventLoop
    tapped: bool = False
    ciphered: bool = False
    in_memory: bool = False

    def with_tap(self) -> EngineUnderTest:
        """Return this engine, with a layer over each link."""
        return replace(self, label=f"{self.label}+tap", tapped=True)

    def with_tls(self) -> EngineUnderTest:
        """Return this engine, with TLS over each link."""
        return replace(self, label=f"{self.label}+tls", ciphered=True)

    def with_ssl_alone(self) -> EngineUnderTest:
        """Return this engine, where compiled code leaves TLS to `ssl`."""
        return replace(self, label=f"{self.label}-ssl", in_memory=True)

    @property
    def missing(self) -> str | None:
        """Why it cannot be tested here, or None."""
        if self.name not in ENGINES:
            return f"there is no {self.name} engine"
        for needed in (self.needs, *(["trustme"] if self.ciphered else [])):
            try:
                importlib.import_module(needed)
            except ImportError as error:
                return str(error)
        return None


_EAGER: Final = sys.version_info >= (3, 12)

ALL_ENGINES: Final = (
    EngineUnderTest("pure", "pure", "penstock.engines.pure.engine"),
    EngineUnderTest("uvloop", "pure", "uvloop", _uvloop),
    EngineUnderTest("blocking", "blocking", "penstock.engines.blocking.engine"),
    EngineUnderTest("native", "native", "penstock.engines.native.engine", _native),
    EngineUnderTest("attached", "native", "penstock.engines.native.engine"),  # in a loop that is not its own
    *(
        (
            EngineUnderTest("eager", "pure", "penstock.engines.pure.engine", _eager(asyncio.SelectorEventLoop)),
            EngineUnderTest("eager-native", "native", "penstock.engines.native.engine", _eager(_native)),
        )
        if _EAGER
        else ()
    ),
)
# For what TLS is about: the native engine has two ways.
TLS_ENGINES: Final = (
    *ALL_ENGINES,
    *(engine.with_ssl_alone() for engine in ALL_ENGINES if engine.label == "native"),
)
# The labels of those that run coroutines.
LOOPS: Final = tuple(engine.label for engine in ALL_ENGINES if engine.name != "blocking")
