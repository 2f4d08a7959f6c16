"""A load that is more than one core can send: several processes, each with its share."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait

from ...errors import ConfigurationError, PenstockError
from .measured import Glimpse, Measured, glimpse_of, merged
from .run import Order, run_here


def run_in_processes(order: Order, processes: int, on_interval: Callable[[Glimpse], object]) -> Measured:
    """Run a load in several processes, which begin together.

    Returns:
        What they have seen together.

    Raises:
        ConfigurationError: This system has no fork(2).
        PenstockError: One of them died.
    """
    try:
        context = multiprocessing.get_context("fork")
    except ValueError:
        raise ConfigurationError("this system cannot fork", "--processes") from None
    children = []
    pipes: list[Connection] = []
    try:
        for number in range(processes):
            pipe, end = context.Pipe()
            share = replace(order, load=order.load.share(number, processes))
            child = context.Process(target=_run_share, args=(share, end), daemon=True)
            child.start()
            end.close()
            children.append(child)
            pipes.append(pipe)
        for pipe in pipes:
            _receive(pipe)  # it has connected
        for pipe in pipes:
            pipe.send(None)
        return merged(_collect(pipes, on_interval))
    finally:
        for child, pipe in zip(children, pipes, strict=False):
            pipe.close()
            child.terminate()
            child.join()


def _collect(pipes: list[Connection], on_interval: Callable[[Glimpse], object]) -> list[Measured]:
    seen: dict[Connection, Glimpse] = {}
    done: dict[Connection, Measured] = {}
    while len(done) < len(pipes):
        try:
            ready = [
                each for each in wait([pipe for pipe in pipes if pipe not in done]) if isinstance(each, Connection)
            ]
        except KeyboardInterrupt:
            continue  # it reaches the children too: each tells what it has seen so far
        for pipe in ready:
            assert isinstance(pipe, Connection)
            told = _receive(pipe)
            if isinstance(told, Measured):
                done[pipe] = told
            elif isinstance(told, Glimpse):
                seen[pipe] = told
                if pipe is pipes[0]:
                    on_interval(glimpse_of(seen.values()))
    return [done[pipe] for pipe in pipes]


def _receive(pipe: Connection) -> object:
    try:
        return pipe.recv()
    except EOFError:
        raise PenstockError("a process of the load has died") from None


def _run_share(order: Order, pipe: Connection) -> None:
    def ready() -> None:
        pipe.send(None)
        pipe.recv()

    # An interrupt before it began; or nobody wants to know any more.
    with contextlib.suppress(KeyboardInterrupt, OSError, EOFError):
        pipe.send(run_here(order, pipe.send, ready))
