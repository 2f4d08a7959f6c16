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
        go_on: Makes its link.
    """

    def __init__(
        self,
        connection: MovingConnection[Any],
        sock: socket.socket,
        arrival: Arrival,
        go_on: Callable[[MovingConnection[Any], socket.socket, Arrival], None],
    ) -> None:
        self.connection = connection
        self._sock = sock
        self._arrival = arrival
        self._go_on = go_on

    def _begin(self) -> None:
        self._go_on(self.connection, self._sock, self._arrival)

    def _give_up(self) -> None:
        self._sock.close()
        self.connection.never_was()
