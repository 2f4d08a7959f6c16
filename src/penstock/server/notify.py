"""What a service manager is told: sd_notify(3), for units of ``Type=notify`` and ``Type=notify-reload``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final, Self

from ..core.events import Draining, Event
from .repeated import Repeated

_logger: Final = logging.getLogger("penstock")


class Notifier:
    """Sends state to the socket that a service manager has named. It never waits, and what is lost is lost.

    Args:
        address: A path, or an abstract name that begins with ``@``.
        watchdog_s: How often a sign of life is expected, in seconds; None for not at all.

    Attributes:
        watchdog_s: The same.
    """

    def __init__(self, address: str, watchdog_s: float | None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._beat: Repeated | None = None
        self._status: str | None = None  # while the server serves
        self._is_lost = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int) -> Self | None:
        """Return what NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID ask for; None when they ask for nothing.

        Args:
            environ: The environment. What is malformed in it counts as missing.
            pid: This process's.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
            if address:
                _logger.debug("NOTIFY_SOCKET=%s is ignored: a path or an abstract name is needed", address)
            return None
        watchdog_s = None
        if environ.get("WATCHDOG_PID", str(pid)) == str(pid):
            with contextlib.suppress(ValueError):
                watchdog_s = int(environ.get("WATCHDOG_USEC", "")) / 1e6
        return cls(address, watchdog_s if watchdog_s and watchdog_s > 0 else None)

    def observe(self, event: Event, /) -> None:
        """Tell of the one event that matters: the server drains."""
        if type(event) is Draining:
            self.stopping(event.connections)

    def stopping(self, connections: int) -> None:
        """Tell that the server drains, and how many connections it had."""
        self._status = None
        self._send("STOPPING=1", f"STATUS=draining {connections} connections")

    def ready(self, service: str, addresses: Sequence[str]) -> None:
        """The server serves. From now on the loop gives its signs of life, twice as often as they are expected."""
        self._status = f"STATUS=serving {service} on {', '.join(addresses)}"
        self._send("READY=1", self._status)
        if self.watchdog_s is not None:
            self._beat = Repeated(asyncio.get_running_loop(), self.watchdog_s / 2, self._live)
            self._beat.begin()

    def reloading(self) -> None:
        """The configuration is read again. Nothing is said of it before the server is ready, nor after it has ended."""
        if self._status is not None:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """That is over, however it went."""
        if self._status is not None:
            self._send("READY=1", self._status)

    def succeeded(self, pid: int) -> None:
        """Another process is the service from now on, and gives the signs of life: this one says no more."""
        self._send(f"MAINPID={pid}")
        self.close()

    def close(self) -> None:
        """Say no more. May be repeated."""
        if self._beat is not None:
            self._beat.stop()
        self._status = None
        self._socket.close()

    def _live(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._socket.fileno() < 0:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._is_lost:
                self._is_lost = True
                _logger.debug("the service manager is not told: %s: %s", self._address, error.strerror)
