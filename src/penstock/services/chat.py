"""Chat: what one peer says, every other one in the room hears.

Wire format: one message per LF, both ways; a line may end in CR LF, or in 400 ms of silence as long as the peer has
ended none, and the last one need not end at all. Nothing is said back to the speaker, nor to anybody about who comes
and goes. There is one room, whatever the number of workers. Needs connections.

A member that does not read is owed at most ``--write-max`` bytes; then it is cut, and nobody else notices.
"""

from dataclasses import replace
from typing import Any

from ..core.contract import ConnectionBase
from ..core.handlers import Handler
from ..core.service import Service, callbacks
from ..groups import Group
from .definition import LINES, Definition


def make() -> Service[Any]:
    """Make the service, with a room of its own."""
    room: Group[Any] = Group("room", scope="workers")

    class Member(Handler[Any]):
        """One peer in the room, until it closes."""

        def on_connect(self, conn: ConnectionBase[Any]) -> None:
            """Come in."""
            room.join(conn)

        def on_message(self, conn: ConnectionBase[Any], message: Any) -> None:
            """Say it."""
            room.publish(message, exclude=conn)

    # A member that only listens is not late.
    service = callbacks(Member, name="chat", codec=LINES, timeouts={"first_message": None})
    return replace(service, datagram=None)  # a room has to know who is in it


DEFINITION = Definition("chat", "Relay each message to all other clients.", make)
