"""An interpreter that is ready before a worker is needed: what is left of a worker's start is the user's own."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from .process import Interpreter

_logger: Final = logging.getLogger("penstock")


class Spares:
    """Keeps one interpreter that has imported what every worker imports, nothing of the user's, and waits.

    It belongs to a generation of workers: at a roll, code of the server's may be newer, too. What has killed one, such
    as a lack of memory, may be there still: there is no other one before the next worker serves.

    Args:
        start: Starts an interpreter, with ``waits`` as of that.
    """

    def __init__(self, start: Callable[..., Interpreter]) -> None:
        self._start = start
        self._spare: Interpreter | None = None
        self._generation = 0
        self._ended: list[Interpreter] = []  # killed, and not waited for yet

    @property
    def are_over(self) -> bool:
        """Whether there is none, nor one that has not been waited for."""
        return self._spare is None and not self._ended

    def keep(self, generation: int) -> None:
        """Have one for workers of this generation."""
        self.look()
        if self._spare is not None and self._generation != generation:
            self.end()
        if self._spare is not None:
            return
        try:
            self._spare = self._start(waits=True)
        except OSError as error:  # it is no worker that is missing
            _logger.debug("no spare worker is started: %s", error.strerror or error)
            return
        self._generation = generation
        asyncio.get_running_loop().add_reader(self._spare.sock, self._waits, self._spare)

    def _waits(self, spare: Interpreter) -> None:
        """It has said that it is ready, which the worker that it becomes is heard to say; or it has ended."""
        asyncio.get_running_loop().remove_reader(spare.sock)
        if spare.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            _logger.debug("a spare worker waits: process %d", spare.process.pid)

    def take(self, generation: int) -> Interpreter:
        """Return an interpreter for a worker of this generation: the one that waits, or a new one.

        Raises:
            OSError: The system gives none.
        """
        self.look()
        spare = self._spare
        if spare is None or self._generation != generation:
            self.end()
            return self._start()
        self._forget()
        return spare

    def end(self) -> None:
        """Have none. It holds nothing that would have to be ended in order."""
        spare = self._spare
        if spare is not None:
            self._forget()
            spare.process.kill()
            spare.sock.close()
            self._ended.append(spare)

    def look(self) -> None:
        """Notice what has ended."""
        self._ended = [each for each in self._ended if each.process.poll() is None]
        spare = self._spare
        if spare is not None and spare.process.poll() is not None:
            _logger.warning("the spare worker has ended: process %d", spare.process.pid)
            self._forget()
            spare.sock.close()

    def _forget(self) -> None:
        if self._spare is not None:
            asyncio.get_running_loop().remove_reader(self._spare.sock)
            self._spare = None
