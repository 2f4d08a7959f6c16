"""The options of a server with several processes: how many, how long they may be silent, and when they are replaced."""

# ruff: noqa: RUF009  # declare makes a dataclass field, once

import os
from dataclasses import dataclass
from typing import Final

from .kinds import AUTO, Auto, Duration, Flag, Integer, Size, Unless
from .option import check_fields, declare

MAX_WORKERS: Final = 1024


@dataclass(frozen=True, slots=True)
class WorkersConfig:
    """How a server is spread over processes.

    Attributes:
        count: How many workers serve; ``auto`` is one for each CPU that this process may use. None: this process serves
            by itself, and there is no supervisor.
        silence_s: A worker whose loop gives no sign of life for so long is killed, and replaced.
        start_s: A worker that is not ready after this time is killed. It imports the application and opens its lifespan
            in that time.
        spare: Whether an interpreter waits for the next worker: it has imported what every worker needs, so that a
            worker which ends by itself is replaced sooner. It uses memory and no time.
        max_connections: A worker that has accepted this many connections is replaced.
        max_age_s: A worker that has served for this long is replaced.
        max_memory_bytes: A worker that has this much memory resident is replaced.

    Of the last three each worker has bounds of its own, up to a tenth higher, so that workers which began together are
    not replaced together.
    """

    count: int | Auto | None = declare(
        None,
        "workers",
        Unless(Integer(1, MAX_WORKERS), auto=True),
        "Workers",
        "Serve with this many processes under a supervisor",
        default_text="none: one process, without a supervisor",
    )
    silence_s: float | None = declare(
        30.0,
        "timeout_worker",
        Duration(),
        "Workers",
        "Kill and replace a worker whose event loop is held for this long",
    )
    start_s: float | None = declare(
        60.0, "timeout_worker_start", Duration(), "Workers", "Give up a worker that is not ready in time"
    )
    spare: bool = declare(
        True, "spare_worker", Flag(), "Workers", "Keep a process ready to replace a worker that ends by itself"
    )
    max_connections: int | None = declare(
        None,
        "max_worker_connections",
        Unless(Integer(1, 2**53)),
        "Workers",
        "Replace a worker that has accepted this many connections, or up to a tenth more",
    )
    max_age_s: float | None = declare(
        None,
        "max_worker_age",
        Duration(),
        "Workers",
        "Replace a worker that has served for this long, or up to a tenth longer",
    )
    max_memory_bytes: int | None = declare(
        None,
        "max_worker_memory",
        Unless(Size()),
        "Workers",
        "Replace a worker with this much resident memory, or up to a tenth more",
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def number(self) -> int:
        """How many workers that makes on this machine; 0 for no supervisor."""
        if self.count is None:
            return 0
        return available_cpus() if self.count == AUTO else self.count


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
