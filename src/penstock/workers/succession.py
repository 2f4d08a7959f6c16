"""From one supervisor to the next: SIGUSR2 starts the command line again, as a child that gets the open sockets.

The new supervisor starts workers on the same listeners. Once all of them serve it says so; then the old one gives up
the files of Unix sockets, has its workers drain, and ends when they have. If the new one ends before that, nothing has
changed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..address import parse_address
from ..engines.listener import Listener, SocketFile
from ..errors import ConfigurationError, StoppedError
from ..server.inherited import InheritedSocket
from ..server.unix_file import adopt_file, disown_file
from .cells import Cells
from .channel import Channel
from .introductions import Introductions
from .keeper import Keeper, Key
from .messages import (
    VERSION,
    Arriving,
    FromPredecessor,
    FromSuccessor,
    Gone,
    Kept,
    KeptCells,
    Meeting,
    OpenedSocket,
    Paired,
    Succeed,
    TookOver,
    Yours,
)

# Where a new supervisor finds the descriptor of its channel to the old one.
SUCCESSOR_VARIABLE: Final = "PENSTOCK_SUPERVISOR_CHANNEL"

_logger: Final = logging.getLogger("penstock")


def kept_by(keeper: Keeper, cells: dict[str, Cells]) -> Iterator[tuple[Kept | KeptCells, Sequence[int]]]:
    """Yield what a successor has to have, with its descriptors."""
    for (service, text), places in keeper.places.items():
        for number, place in enumerate(places):
            for slot, listener in [*place.by_slot.items()] or [(0, place.first)]:
                opened = OpenedSocket(
                    str(listener.requested), str(listener.address), listener.backlog, listener.name, is_own=slot > 0
                )
                file = listener.file
                kept = Kept(
                    service=service,
                    text=text,
                    place=number,
                    slot=slot,
                    listener=opened,
                    file=None if file is None else (file.path, file.device, file.inode),
                )
                yield kept, [listener.sock.fileno()]
    for service, each in cells.items():
        yield KeptCells(service=service, first=each.reserve()), each.descriptors


class Successor:
    """The new supervisor, as the old one knows it.

    Args:
        command: The command line.
        cwd: Where it begins.
        keeper: What it gets.
        cells: Likewise.
        started: From which number on its workers are numbered.
        introductions: Has its workers know those here.
        took_over: Called once its workers serve.
        failed: Called when it has ended before that, with its status.

    Attributes:
        pid: Its number.
        handover: In which format the worker of each slot takes connections over, once they serve.
        closes: What it does not listen on.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: str | None,
        keeper: Keeper,
        cells: dict[str, Cells],
        started: int,
        *,
        introductions: Introductions,
        took_over: Callable[[], object],
        failed: Callable[[int], object],
    ) -> None:
        ours, theirs = socket.socketpair()
        try:
            # What the service manager has said to this process by its number is for its successor, too.
            environ = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
            # The command line of this process, again.
            self._process = subprocess.Popen(  # noqa: S603
                command,
                env={**environ, SUCCESSOR_VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                cwd=cwd,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._introductions = introductions
        self._took_over = took_over
        self._failed = failed
        self._serves = False
        self.handover: Mapping[int, int] = {}
        self.closes: Mapping[int, Sequence[Key]] = {}
        self._channel: Channel[FromSuccessor] = Channel(ours, FromSuccessor)
        self._channel.attach(asyncio.get_running_loop(), self._heard, lambda: None)
        for message, descriptors in kept_by(keeper, cells):
            self._channel.send(message, descriptors)
        inherited = [(each.fd, each.name) for each in keeper.inherited]
        self._channel.send(Succeed(version=VERSION, inherited=inherited, started=started, introduces=True))

    def hand(self, slot: int, descriptor: int) -> None:
        """Have its worker of a slot take over what the worker at the other end of the descriptor hands over."""
        self._channel.send(Arriving(slot=slot), [descriptor])

    def _heard(self, message: FromSuccessor, _descriptors: list[int]) -> None:
        if isinstance(message, Meeting):
            self._introductions.meeting(message, self._channel.send)
            return
        if isinstance(message, Gone):
            self._introductions.gone_there(message)
            return
        self._serves = True
        self.handover, self.closes = message.handover, message.closes
        self._took_over()

    def give(self) -> None:
        """Tell it that all is its own from now on."""
        self._channel.send(Yours())

    def look(self) -> None:
        """Look whether it has ended."""
        status = self._process.poll()
        if status is not None:
            self._channel.hear()
            self._channel.close()
            if not self._serves:
                self._failed(status)

    def close(self) -> None:
        """The old supervisor ends: a successor that does not serve yet ends with it."""
        self._channel.close()


@dataclass(slots=True)
class Inheritance:
    """What a new supervisor has of the one before it.

    Attributes:
        channel: To that.
        keeper: The listeners.
        cells: What its workers count in, by service.
        files: Those of Unix sockets, which are its own once `taken` was called.
        started: From which number on its workers are numbered.
        introduces: Whether that supervisor has its workers know this one's.
        introductions: Those of this supervisor.
    """

    channel: Channel[FromPredecessor]
    keeper: Keeper
    cells: dict[str, Cells]
    files: list[SocketFile] = field(default_factory=list)
    started: int = 0
    introduces: bool = False
    introductions: Introductions | None = None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Inheritance | None:
        """Return what was handed down to this process; None where nothing was.

        Raises:
            ConfigurationError: The supervisor before is of another version.
            StoppedError: It is gone.
        """
        text = environ.pop(SUCCESSOR_VARIABLE, None)
        if text is None or not text.isdecimal():
            return None
        sock = socket.socket(fileno=int(text))
        os.set_inheritable(sock.fileno(), False)
        found = cls(Channel(sock, FromPredecessor), Keeper(), {})
        while True:
            received = found.channel.receive()
            if received is None:
                raise StoppedError("the supervisor is gone")
            message, descriptors = received
            match message:
                case Kept():
                    found._keep(message, descriptors[0])
                case KeptCells():
                    found.cells[message.service] = Cells((descriptors[0], descriptors[1]), message.first)
                case Succeed():
                    if message.version != VERSION:
                        raise ConfigurationError(
                            f"the supervisor is of another version of penstock, with messages of version "
                            f"{message.version} and not {VERSION}: restart it"
                        )
                    found.started = message.started
                    found.introduces = message.introduces
                    found.keeper.inherited = tuple(InheritedSocket(fd, name) for fd, name in message.inherited)
                    return found

    def _keep(self, kept: Kept, descriptor: int) -> None:
        opened = kept.listener
        sock = socket.socket(fileno=descriptor)
        file = None
        if kept.file is not None:
            path, device, inode = kept.file
            file = SocketFile(path, device, inode)
            self.files.append(file)
        listener = Listener(
            sock, parse_address(opened.requested), parse_address(opened.address), opened.backlog, opened.name, file
        )
        self.keeper.adopt((kept.service, kept.text), kept.place, kept.slot, listener)

    def introduce(self, introductions: Introductions) -> None:
        """Have the workers of the supervisor before known to those of this one."""
        self.introductions = introductions
        if self.introduces:
            introductions.before = self.channel.send

    def attach(
        self, taken: Callable[[], object], arriving: Callable[[int, int], object], orphaned: Callable[[], object]
    ) -> None:
        """Hear the supervisor before.

        Args:
            taken: Called once all is this one's.
            arriving: Called after that for each of its workers that hands connections over: with the slot whose worker
                is to take them, and a descriptor.
            orphaned: Called when that supervisor is gone, and all is not.
        """
        is_taken = False

        def heard(message: FromPredecessor, descriptors: list[int]) -> None:
            nonlocal is_taken
            if isinstance(message, Arriving):
                arriving(message.slot, descriptors[0])
                return
            if isinstance(message, Paired):
                if self.introductions is not None:
                    self.introductions.paired(message, descriptors[0])
                os.close(descriptors[0])
                return
            if isinstance(message, Gone):
                if self.introductions is not None:
                    self.introductions.gone_there(message)
                return
            is_taken = True
            for file in self.files:
                adopt_file(file)
            taken()

        self.channel.attach(asyncio.get_running_loop(), heard, lambda: None if is_taken else orphaned())

    def serves(self, handover: dict[int, int], left: dict[int, list[Key]]) -> None:
        """Say that the workers serve, in which format each of them takes connections over, and where none listens."""
        self.channel.send(TookOver(handover=handover, closes=left))


def disown(keeper: Keeper) -> None:
    """Give up the files of Unix sockets: they are another process's now."""
    for listener in keeper.listeners:
        if listener.file is not None:
            disown_file(listener.file)
