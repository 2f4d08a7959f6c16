"""One run of ``penstock bench`` in this process."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ..address import Address
from ..errors import ConfigurationError, PenstockError
from .load import Load
from .measured import Glimpse, Measured, Recorder

ENGINES: Final = ("auto", "native", "pure")


class Loop(Protocol):
    """What runs a load: `penstock.load.pure.loop.LoadLoop`, or its compiled twin."""

    def connect(self) -> None:
        """Open all connections; return when each is there or has failed."""

    def run(self) -> None:
        """Load, wait for the last replies, and leave."""


MakeLoop = Callable[[Load, Measured, Callable[[], socket.socket], float, Callable[[float], object]], Loop]


def loop_of(engine: str, *, ciphered: bool = False) -> tuple[MakeLoop, bool]:
    """Return what runs a load on an engine, and whether it is compiled.

    Args:
        engine: One of `ENGINES`.
        ciphered: The load speaks TLS, which the compiled one does not.

    Raises:
        ConfigurationError: ``native`` was asked for, and is not there, or does not do it.
    """
    if ciphered and engine == "native":
        raise ConfigurationError("the compiled load speaks no TLS; leave it to the one in Python", "--engine")
    if engine != "pure" and not ciphered:
        try:
            from .native.loop import LoadLoop as NativeLoop
        except ImportError:
            from ..engines.registry import native_missing

            if engine == "native":
                raise ConfigurationError(native_missing() or "the native load was not built", "--engine") from None
        else:
            return NativeLoop, True
    from .pure.loop import LoadLoop

    return LoadLoop, False


def dialler(address: Address, name: Any) -> Callable[[], socket.socket]:
    """Return a function that makes a socket that connects to an address.

    Args:
        address: What the user wrote.
        name: What it was resolved to, as connect(2) takes it.
    """
    from ..client.network import Candidate, kind_of, open_socket, refuse_itself
    from ..client.options import SocketOptions

    family = socket.AF_UNIX if address.is_unix else socket.AF_INET6 if len(name) == 4 else socket.AF_INET
    candidate = Candidate(family, kind_of(address), name)
    options = SocketOptions()

    def dial() -> socket.socket:
        sock = open_socket(candidate, options)
        try:
            sock.setblocking(False)
            # A TCP connection is in progress; a Unix socket has connected, or its backlog is full.
            with contextlib.nullcontext() if address.is_unix else contextlib.suppress(BlockingIOError):
                sock.connect(name)
                if address.is_datagram:
                    refuse_itself(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    return dial


@dataclass(frozen=True, slots=True)
class Order:
    """How a load is run.

    Attributes:
        load: What is asked.
        dial: Makes a non-blocking socket that connects.
        engine: One of `ENGINES`.
        interval_s: How long each interval is.
    """

    load: Load
    dial: Callable[[], socket.socket]
    engine: str
    interval_s: float


def run_here(
    order: Order, on_interval: Callable[[Glimpse], object], ready: Callable[[], object] = lambda: None
) -> Measured:
    """Run a load in this process.

    Args:
        order: What is run.
        on_interval: Called after each interval.
        ready: Called when all connections are there; it may wait.

    Returns:
        What was seen, also when the user has interrupted it.

    Raises:
        PenstockError: There is no descriptor left to begin with.
    """
    make, compiled = loop_of(order.engine, ciphered=order.load.handshake is not None)
    measured = Measured(compiled=compiled)
    recorder = Recorder(measured, on_interval)
    try:
        loop = make(order.load, measured, order.dial, order.interval_s, recorder)
    except OSError as error:
        raise PenstockError(f"the load cannot begin: {(error.strerror or str(error)).lower()}") from error
    loop.connect()
    ready()
    cpu_at, began_at = time.process_time(), time.perf_counter()
    try:
        loop.run()
    except KeyboardInterrupt:
        measured.interrupted = True
    recorder.end()
    measured.cpu_share = (time.process_time() - cpu_at) / max(1e-9, time.perf_counter() - began_at)
    return measured
