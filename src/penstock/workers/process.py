"""One worker, as its supervisor knows it: a process of a fresh interpreter, and a channel to it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final, Protocol

from . import VARIABLE, WAITS
from .channel import Channel
from .keeper import Key
from .messages import Beat, Begin, Drain, FromWorker, HandOver, Message, Parted, Ready, Stop, TakeOver

# What a service manager says to the supervisor alone.
_NOT_FOR_WORKERS: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)


_logger: Final = logging.getLogger("penstock")


class State(StrEnum):
    """What a worker is doing."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    ENDED = "ended"


class Listening(Protocol):
    """The receiver of what a worker says."""

    def heard(self, worker: WorkerProcess, message: FromWorker, /) -> object:
        """It has said this."""


class Interpreter:
    """A process of a fresh interpreter, which waits to be told what it is.

    It comes by exec: it imports the code as it is now, and has nothing of this process but one descriptor.

    Args:
        command: What to run.
        environ: Its environment, but for what is the supervisor's alone.
        cwd: Where it begins; None for where this process is.
        waits: Whether it is not told at once: it imports what every worker needs, and says so.

    Attributes:
        process: The process, which has to be waited for.
        sock: To it.

    Raises:
        OSError: The system gives no process, or no sockets.
    """

    def __init__(
        self, command: Sequence[str], *, environ: Mapping[str, str], cwd: str | None, waits: bool = False
    ) -> None:
        self.sock, theirs = socket.socketpair()
        try:
            own = {name: value for name, value in environ.items() if name not in _NOT_FOR_WORKERS}
            if waits:
                own[WAITS] = "1"
            self.process = subprocess.Popen(  # noqa: S603 - the command line of this process
                command, env={**own, VARIABLE: str(theirs.fileno())}, pass_fds=[theirs.fileno()], cwd=cwd
            )
        except BaseException:
            self.sock.close()
            raise
        finally:
            theirs.close()


class WorkerProcess:
    """A process that was started and has to be waited for.

    Args:
        interpreter: What becomes the worker.
        begin: What it is told first.
        listening: Told what it says.
        now: The instant.

    Attributes:
        slot: Which of the workers it is, from 1 on.
        generation: As of `Begin`.
        pid: Its number.
        state: What it is doing.
        started_at: When it was told to begin, on the clock of the loop, as all instants here.
        ready_at: When it was ready; None until then.
        heard_at: When its loop was known to run last.
        ready: What it said when it was; None until then.
        figures: What it said last of itself; None until it has.
        parted: What has become of the connections that it was to hand over; None until it has said so.
        keys: What it listens on.
        told_at: When the supervisor told it to end; None while it has not.
        hands_over_at: Since when it hands its connections over; None while it does not.
        is_leaving: Whether it has to have a successor.
        is_stopping: Whether it was told to end at once.
        was_killed: Whether the supervisor has killed it.
        status: What it ended with, negative for a signal; None while it runs.
    """

    def __init__(self, interpreter: Interpreter, begin: Begin, listening: Listening, now: float) -> None:
        self.slot = begin.slot
        self.generation = begin.generation
        self.state = State.STARTING
        self.started_at = self.heard_at = now
        self.ready_at: float | None = None
        self.ready: Ready | None = None
        self.figures: Beat | None = None
        self.parted: Parted | None = None
        self.keys: set[Key] = set()
        self.told_at: float | None = None
        self.hands_over_at: float | None = None
        self.is_leaving = self.is_stopping = False
        self.was_killed = False
        self.status: int | None = None
        self._process = interpreter.process
        self.pid = self._process.pid
        self._channel: Channel[FromWorker] = Channel(interpreter.sock, FromWorker)
        self._channel.attach(
            asyncio.get_running_loop(), lambda message, _: listening.heard(self, message), lambda: None
        )
        self.send(begin)

    @property
    def connections(self) -> int:
        """How many it had when it spoke last."""
        return 0 if self.figures is None else self.figures.connections

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Say something to it."""
        self._channel.send(message, descriptors)

    def drain(self, now: float, *, last: bool = False, closes_own: bool = False, closes: Sequence[Key] = ()) -> None:
        """Tell it to end in order; the rest as of `Drain`."""
        if self.state is State.STARTING:
            self.terminate(now)
            return
        self.told_at = self.told_at or now
        self.state = State.DRAINING
        self.send(Drain(last=last, closes_own=closes_own, closes=list(closes)))

    def hands_over(self, handover: int) -> bool:
        """Whether it hands its connections over to one that takes them over in this format."""
        return self.state is State.SERVING and handover != 0 and self.handover == handover

    def hand_over(self, give: Callable[[int], object], now: float, closes: Sequence[Key] = ()) -> None:
        """Tell it to have its successor go on with its connections, and then to end in order.

        Args:
            give: Called with the descriptor that the successor is to have, which is closed after that.
            now: The instant.
            closes: As of `Drain`.

        Raises:
            OSError: The system gives no sockets. Nothing was told.
        """
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.told_at = self.told_at or now
            self.state = State.DRAINING
            give(theirs.fileno())
            self.send(HandOver(closes=list(closes)), [ours.fileno()])
            self.hands_over_at = now

    def give_way(self, handover: int, give: Callable[[int], object], now: float, closes: Sequence[Key] = ()) -> None:
        """Tell it to end in order, as it has a successor, which first goes on with connections if it knows the format.

        Args:
            handover: The format of the successor.
            give: As of `hand_over`.
            now: The instant.
            closes: As of `Drain`.
        """
        if self.hands_over(handover):
            try:
                self.hand_over(give, now, closes)
            except OSError as error:
                _logger.error("connections are not handed over: %s", error.strerror or error)
            else:
                return
        self.drain(now, closes=closes)

    def has_handed_over(self, now: float) -> None:
        """It drains from now on: the time for that begins."""
        if self.hands_over_at is not None and not self.is_stopping:
            self.told_at = now
        self.hands_over_at = None

    def take_over(self, descriptor: int) -> None:
        """Tell it that another worker hands connections over to it, at the other end of the descriptor."""
        self.send(TakeOver(), [descriptor])

    @property
    def handover(self) -> int:
        """The format in which it hands connections over, and takes them over; 0: it does not."""
        return 0 if self.ready is None else self.ready.handover

    def stop(self, now: float) -> None:
        """Tell it to end at once."""
        if self.state is State.STARTING:
            self.terminate(now)
        self.told_at = now
        self.is_stopping = True
        self.send(Stop())

    def terminate(self, now: float) -> None:
        """End one that is not ready: it may not listen to its channel yet."""
        self.told_at = self.told_at or now
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it now."""
        self.was_killed = True
        self.signal(signal.SIGKILL)

    def has_ended(self) -> bool:
        """Look whether it has ended; take note of its status if so. What it said before is heard first."""
        status = self._process.poll()
        if status is None:
            return False
        self.status = status
        self._channel.hear()
        self.state = State.ENDED
        self._channel.close()
        return True

    @property
    def was_killed_by_others(self) -> bool:
        """Whether it has ended by a SIGKILL that the supervisor has not sent."""
        return self.status == -signal.SIGKILL and not self.was_killed

    @property
    def end_in_words(self) -> str:
        """Say how it ended."""
        assert self.status is not None
        if self.status >= 0:
            return f"status {self.status}"
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"
