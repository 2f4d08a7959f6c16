"""A connection of another process that is about to go on in this one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from ..base import Adoption
from ..luggage import Arrival
from .moving import MovingConnection


class LoopAdoption(Adoption):
    """One whose handler has taken over. Its socket is not read until `begin`.

    Args:
        connection: It.
        sock: Its socket.
        arrival: What was told of it.
        begin: Makes its link.
    """

    def __init__(
        self,
        connection: MovingConnection[Any],
        sock: socket.socket,
        arrival: Arrival,
        begin: Callable[[MovingConnection[Any], socket.socket, Arrival], None],
    ) -> None:
        self.connection = connection
        self._sock = sock
        self._arrival = arrival
        self._begin = begin

    def begin(self) -> None:
        """Read and send from now on."""
        self._begin(self.connection, self._sock, self._arrival)

    def give_up(self) -> None:
        """Leave it to the process that has it."""
        self._sock.close()
        self.connection.never_was()
