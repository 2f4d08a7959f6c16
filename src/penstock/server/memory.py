"""How much memory there is and how much of it is used, as the kernel says."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from ..config import AUTO, OverloadConfig
from ..core.events import Event, PressureChanged
from ..core.gate import Gate
from ..core.memory import Ladder, Pressure
from ..engines.base import EngineServer
from .repeated import pause

# Between two readings. Of 1 GiB there are 200 MiB between the first step and the end: 250 ms at most for what fills
# it with 800 MB/s.
READ_S: Final = 0.25
READ_UNDER_PRESSURE_S: Final = 0.1

CGROUPS: Final = Path("/sys/fs/cgroup")
# Version 1 writes "no limit" as the largest multiple of a page.
_NO_LIMIT: Final = 2**60


@dataclass(frozen=True, slots=True)
class Memory:
    """A limit, and what tells how much of it is used.

    Attributes:
        limit_bytes: The limit.
        used_bytes: Returns what is used; None when the kernel does not say (any more).
    """

    limit_bytes: int
    used_bytes: Callable[[], int | None]


def memory_of(config: OverloadConfig, *, groups: Path = CGROUPS, membership: str | None = None) -> Memory | None:
    """Return the limit a configuration means; None when it means none.

    Args:
        config: A number of bytes is held against what this process has resident; ``auto`` is the limit of its control
            group, held against what that uses without the file cache that the kernel can drop.
        groups: Where control groups are mounted.
        membership: The text of ``/proc/self/cgroup``; None for that itself.
    """
    if config.memory_bytes is None:
        return None
    if config.memory_bytes != AUTO:
        return Memory(config.memory_bytes, resident_bytes)
    for directory, version in _directories(groups, membership):
        limit_file, used_file, cache_key = _FILES[version]
        limit = _number(directory / limit_file)
        if limit is not None and limit < _NO_LIMIT:
            return Memory(limit, partial(_used, directory, used_file, cache_key))
    return None


async def follow_memory(
    memory: Memory, gate: Gate, engine: EngineServer, emit: Callable[[Event], None], *, share: int = 1
) -> None:
    """Read how much is used, again and again, and do what the ladder says.

    Args:
        memory: What may be used, and what is.
        gate: Refuses, when it is told to.
        engine: Gives back what it can.
        emit: Told when the pressure changes.
        share: Among how many servers of this process what has to come back is shared out.
    """
    ladder = Ladder(memory.limit_bytes)
    told, tense = Pressure.CALM, False
    while True:
        try:
            used = _look(memory, ladder)
            if used is None:  # the control group is gone, and its limit with it
                gate.shed(False)
                engine.shed_load(Pressure.CALM, 0)
                return
            pressure = ladder.read(used)
            gate.shed(pressure >= Pressure.REFUSE)
            if pressure is not told:
                emit(PressureChanged(pressure, used, memory.limit_bytes))
                told = pressure
            if pressure is not Pressure.CALM:
                tense = True
                engine.shed_load(pressure, -(-ladder.excess_bytes(used) // share))
            elif tense:
                engine.shed_load(pressure, 0)
                tense = False
        except MemoryError:
            pass  # now of all times: what is not done yet is tried again with the next reading
        await pause(READ_S if ladder.pressure is Pressure.CALM else READ_UNDER_PRESSURE_S)


def _look(memory: Memory, ladder: Ladder) -> int | None:
    """Return what is used; where that is much, once the heap has given back what is free in it."""
    used = memory.used_bytes()
    if used is not None and ladder.is_short(used):
        give_back()  # that is no reason to end anybody
        used = memory.used_bytes() or used
    return used


def give_back() -> None:
    """Have the C library return to the system what is free anywhere in its heap; by itself it returns only the end."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # it is glibc's alone, and Linux's
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int | None:
    """Return how much memory of this process is in use."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


_FILES: Final = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file"),
    2: ("memory.max", "memory.current", b"inactive_file"),
}


def _directories(groups: Path, membership: str | None) -> list[tuple[Path, int]]:
    """Return the directories of this process's group and of those around it, innermost first, with their versions."""
    try:
        text = Path("/proc/self/cgroup").read_text() if membership is None else membership
    except OSError:
        return []
    found: list[tuple[Path, int]] = []
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root, version = groups, 2
        elif "memory" in controllers.split(","):
            root, version = groups / "memory", 1
        else:
            continue
        own = root / path.lstrip("/")
        found += [(each, version) for each in (own, *own.parents) if each.is_relative_to(root)]
    return found


def _used(directory: Path, used_file: str, cache_key: bytes) -> int | None:
    used = _number(directory / used_file)
    if used is None:
        return None
    try:
        lines = (directory / "memory.stat").read_bytes().splitlines()
    except OSError:
        return used
    cached = next((int(line.split()[1]) for line in lines if line.startswith(cache_key + b" ")), 0)
    return max(0, used - cached)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):  # also "max"
        return None
