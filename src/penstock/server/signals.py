"""What signals do to a server that is the whole purpose of its process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import faulthandler
import functools
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from ..config import LogFormat
from ..errors import ExitStatus
from ..telemetry.log_files import reopen_log_files
from .last_resort import LastResort
from .life import Endable
from .server import Server
from .work import work_of

_logger: Final = logging.getLogger("penstock")

ENDING: Final = (signal.SIGINT, signal.SIGTERM)

# What is said to signals that do nothing here.
NO_SUPERVISOR: Final = {
    "SIGHUP": "the configuration is the program's own, there is nothing to read again",
    "SIGUSR1": "the log is standard error, and has no file",
    "SIGUSR2": "there is no supervisor to start a successor",
}
OF_THE_SUPERVISOR: Final = dict.fromkeys(
    ("SIGHUP", "SIGUSR2"), "it is for the supervisor, the parent of this worker"
)  # which passes SIGUSR1 on


class EndSignals:
    """What SIGINT and SIGTERM do to a server, from before it opens an address.

    The first drains, the second stops. Both go through the loop; when that has no turn, a handler that Python calls
    between two byte codes has the `LastResort` end the process: for the second signal, and for the first one as long
    as the server is not ready and its loop has not met it, for then there is nothing to drain.

    Args:
        server: Not started yet.
        loop: The running loop, of the main thread.
        log_format: As of `LastResort`.
        numbers: Which signals end it.
        after_s: As of `LastResort`.
    """

    def __init__(
        self,
        server: Endable,
        loop: asyncio.AbstractEventLoop,
        *,
        log_format: LogFormat,
        numbers: Sequence[signal.Signals] = ENDING,
        after_s: float | None = None,
    ) -> None:
        self._server = server
        self._numbers = numbers
        self._loop = loop
        self._heard = self._told = 0
        self._is_ready = False
        self._before = {number: signal.getsignal(number) for number in numbers}
        self._last_resort = LastResort(self._forced_status, log_format=log_format, after_s=after_s)
        with _blocked():
            for number in numbers:
                # The loop's way first: it wakes the loop, and it puts a handler in place that does nothing.
                with contextlib.suppress(NotImplementedError):  # Windows
                    loop.add_signal_handler(number, self._tell)
                signal.signal(number, self._hear)

    def started(self) -> None:
        """The server serves. What was heard before this is done by the loop's next turn."""
        self._is_ready = True

    def _hear(self, _number: int, _frame: object) -> None:
        self._heard += 1
        if self._heard > 1 or not self._is_ready:
            self._last_resort.arm()
        if os.name == "nt":
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._told += 1
        if self._told == 1:
            self._server.begin_drain()
        else:
            self._last_resort.arm()
            self._server.begin_stop()

    def _forced_status(self) -> ExitStatus | None:
        if max(self._heard, self._told) > 1:
            return ExitStatus.DRAIN_TIMEOUT if self._is_ready else ExitStatus.INTERRUPTED
        # What the loop was told it does, in its own time: what was opened is closed.
        return None if self._is_ready or self._told else ExitStatus.INTERRUPTED

    def end(self, *, for_good: bool) -> None:
        """The server has stopped.

        Args:
            for_good: The process ends as well. Signals do not change its exit status any more, unless they are needed
                for it to end at all: what it still waits for is ended by the second one.
        """
        with _blocked():
            for number in self._numbers:
                with contextlib.suppress(NotImplementedError):
                    self._loop.remove_signal_handler(number)
                signal.signal(number, self._hear if for_good else self._before[number])
        if for_good:
            # The interpreter's end takes the handlers away, and lets be what is ignored.
            atexit.register(_ignore)
        else:
            self._last_resort.disarm()


def _ignore() -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Have no signal between two handlers: it comes after this."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- the others --------------------------------------------------------------------------------------------------------


class OtherSignals:
    """What the signals do that would end the process at once, with its connections, if they were left to the system.

    SIGHUP reloads; where the process has a terminal, its window was closed, and the server drains. SIGQUIT writes what
    every thread and every task is doing, and the server goes on. SIGUSR1 has log files opened
    again, which a file of --log-config may have set up. SIGUSR2 is for a supervisor: here it does nothing, and says so.

    A signal is left alone that the program has a handler for. One that is ignored, as nohup has SIGHUP and a script's
    background job SIGQUIT, is taken over: neither ends the server, and an ignored SIGHUP drains nothing.

    Args:
        server: Not started yet.
        servers: Its servers, whose connections SIGQUIT asks about.
        loop: The running loop, of the main thread.
        reload: What SIGHUP calls where there is no terminal; None where there is nothing to read again.
        ignored: Why a signal does nothing, by its name.
    """

    def __init__(
        self,
        server: Endable,
        servers: Sequence[Server],
        loop: asyncio.AbstractEventLoop,
        reload: Callable[[], None] | None,
        *,
        ignored: Mapping[str, str] = NO_SUPERVISOR,
    ) -> None:
        self._server = server
        self._ignored = ignored
        self._servers = servers
        self._loop = loop
        self._reload = reload
        hang_up = getattr(signal, "SIGHUP", None)  # Windows has none of them
        self._drains = hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN and has_terminal()
        self._before: dict[int, Any] = {}
        for name, handle in (
            ("SIGHUP", self._hang_up),
            ("SIGQUIT", self._print_work),
            ("SIGUSR1", self._reopen_files),
            ("SIGUSR2", functools.partial(self._say, "SIGUSR2")),
        ):
            number = getattr(signal, name, None)
            if number is None or signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN):
                continue
            with contextlib.suppress(NotImplementedError):
                before = signal.getsignal(number)
                loop.add_signal_handler(number, handle)
                self._before[number] = before
        if getattr(signal, "SIGQUIT", None) in self._before:
            # In the signal's own handler, for the loop that it asks about may be held. Then what the loop does, above.
            faulthandler.register(signal.SIGQUIT, file=2, all_threads=True, chain=True)

    def _hang_up(self) -> None:
        if self._drains and not has_terminal():
            self._server.begin_drain()
        elif self._reload is None:
            self._say("SIGHUP")
        else:
            self._reload()

    def _reopen_files(self) -> None:
        count = reopen_log_files()
        if count:
            _logger.info("log files opened again: %d", count)
        else:
            self._say("SIGUSR1")

    def _say(self, name: str) -> None:
        if name in self._ignored:
            _logger.warning("%s ignored: %s", name, self._ignored[name])

    def _print_work(self) -> None:
        """Say where every handler is that has not ended, and every task that is no connection's."""
        for line in work_of(self._servers, self._loop):
            _logger.warning(line)

    def end(self) -> None:
        """Leave them to the system again."""
        if getattr(signal, "SIGQUIT", None) in self._before:
            faulthandler.unregister(signal.SIGQUIT)
        for number, before in self._before.items():
            self._loop.remove_signal_handler(number)
            signal.signal(number, before)
        self._before.clear()


def has_terminal() -> bool:
    """Whether the process has a controlling terminal: tty(4) says ENXIO where it has none, or has none any more."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
