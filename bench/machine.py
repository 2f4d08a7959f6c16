"""What the figures were measured on, and which two cores do the measuring."""

from __future__ import annotations

import os
import platform
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

CPU = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Cores:
    """One core for the server, one for the load; the same one where the machine has no second."""

    server: int
    load: int

    @property
    def apart(self) -> bool:
        return self.server != self.load


def _siblings(core: int) -> str:
    try:
        return (CPU / f"cpu{core}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(core)


def choose_cores() -> Cores:
    """Take the last core for the server and, if there is one, another physical core for the load."""
    allowed = sorted(os.sched_getaffinity(0))
    server = allowed[-1]
    others = [core for core in allowed if core != server]
    physical = [core for core in others if _siblings(core) != _siblings(server)]
    return Cores(server, (physical or others or allowed)[0])


def raise_descriptor_limit() -> int:
    """Raise the soft RLIMIT_NOFILE to the hard one, for this process and all it starts. Returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_gib() -> float:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def facts(cores: Cores, descriptors: int) -> dict[str, object]:
    """Everything a reader needs to judge the figures, ready for JSON."""
    one_core = not cores.apart or _siblings(cores.server) == _siblings(cores.load)
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "libc": " ".join(platform.libc_ver()),
        "descriptor_limit": descriptors,
        "cores": asdict(cores),
        "cores_share_hardware": one_core,
    }
