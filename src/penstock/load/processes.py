"""A load that is more than one core can send: several processes, each with its share."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final, NoReturn

from ..errors import ConfigurationError, PenstockError
from .measured import Glimpse, Measured, glimpse_of, merged
from .run import Order, run_here

_DIED: Final = "a process of the load has died"


def run_in_processes(order: Order, processes: int, on_interval: Callable[[Glimpse], object]) -> Measured:
    """Run a load in several processes, which begin together; interrupted, they say what they have seen so far.

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
        with _interrupting(children):
            for pipe in pipes:
                pipe.send(None)
            return merged(_collect(pipes, on_interval))
    except ConnectionError:
        raise PenstockError(_DIED) from None
    finally:
        for child, pipe in zip(children, pipes, strict=False):
            pipe.close()
            child.terminate()
            child.join()


@contextlib.contextmanager
def _interrupting(children: Sequence[BaseProcess]) -> Iterator[None]:
    """Have the children interrupted, once, where this process alone is; the second time it is too.

    A process that was started with SIGINT ignored, as a script's background job is, goes on ignoring it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        for child in children:
            if child.is_alive() and child.pid is not None:
                os.kill(child.pid, signal.SIGINT)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _collect(pipes: list[Connection], on_interval: Callable[[Glimpse], object]) -> list[Measured]:
    seen: dict[Connection, Glimpse] = {}
    done: dict[Connection, Measured] = {}
    while len(done) < len(pipes):
        for pipe in wait([pipe for pipe in pipes if pipe not in done]):
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
    except (EOFError, ConnectionError):  # reset, if it had not read what it was told
        raise PenstockError(_DIED) from None


def _run_share(order: Order, pipe: Connection) -> None:
    # A terminal interrupts all of its processes, and the parent does so once more.
    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)

    def ready() -> None:
        pipe.send(None)
        pipe.recv()

    with contextlib.suppress(OSError, EOFError):  # the parent is gone
        try:
            told = run_here(order, pipe.send, ready)
        except KeyboardInterrupt:  # before it began
            told = Measured(interrupted=True)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        pipe.send(told)
