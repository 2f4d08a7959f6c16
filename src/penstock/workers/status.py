"""What a supervisor says of its workers."""

from __future__ import annotations

from dataclasses import dataclass

from .process import State, WorkerProcess


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker, at one moment.

    Attributes:
        slot: Which of the workers it is, from 1 on. During a roll a slot has two.
        pid: Its process.
        generation: How many rolls came before it was started.
        state: ``starting``, ``serving`` or ``draining``.
        age_s: How long ago it was started.
        silent_s: How long ago its loop was known to run.
        connections: How many it has, as of its last sign of life; as the following.
        accepted: How many it has accepted.
        messages_in: How many messages came in.
        messages_out: How many it was given to send.
        memory_bytes: What it has resident; None where that is not known.
    """

    slot: int
    pid: int
    generation: int
    state: State
    age_s: float
    silent_s: float
    connections: int
    accepted: int
    messages_in: int
    messages_out: int
    memory_bytes: int | None

    @classmethod
    def of(cls, worker: WorkerProcess, now: float) -> WorkerStatus:
        """Say how a worker is."""
        figures = worker.figures
        return cls(
            slot=worker.slot,
            pid=worker.pid,
            generation=worker.generation,
            state=worker.state,
            age_s=now - worker.started_at,
            silent_s=now - worker.heard_at,
            connections=0 if figures is None else figures.connections,
            accepted=0 if figures is None else figures.accepted,
            messages_in=0 if figures is None else figures.messages_in,
            messages_out=0 if figures is None else figures.messages_out,
            memory_bytes=None if figures is None else figures.memory_bytes,
        )
