"""Chat: what one peer says, every other one in the room hears.

Wire format: one message per LF, both ways; a line may end in CR LF, and the last one need not end at all. Nothing is
said back to the speaker, nor to anybody about who comes and goes. There is one room. Needs connections.

A member that does not read is owed at most ``--write-max`` bytes; then it is cut, and the others do not notice.
"""

import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..core.contract import ConnectionBase
from ..core.handlers import Handler
from ..core.service import Service, callbacks
from ..errors import ConnectionEndedError, QueueFullError
from ..reasons import CloseReason
from .definition import Definition


class Room:
    """Who is there. Safe from any thread, for handlers may run in several."""

    def __init__(self) -> None:
        # An engine may end a member, and so call its on_close, while it is being posted to.
        self._lock = threading.RLock()
        self._members: dict[int, ConnectionBase[Any]] = {}

    def join(self, conn: ConnectionBase[Any]) -> None:
        """Hear what is said from now on."""
        with self._lock:
            self._members[conn.id] = conn

    def leave(self, conn: ConnectionBase[Any]) -> None:
        """Hear no more. One who is not there may leave, too."""
        with self._lock:
            self._members.pop(conn.id, None)

    def say(self, speaker: ConnectionBase[Any], message: Any) -> None:
        """Have everybody but the speaker hear it, all in the same order."""
        # Held while posting, which never waits, so that two speakers are heard in one order by all.
        with self._lock:
            for member in tuple(self._members.values()):
                if member.id != speaker.id:
                    # One that is leaving, or was cut just now for being too slow, is taken out by its own on_close. One
                    # that is too slow where the policy is to say so misses this.
                    with suppress(ConnectionEndedError, QueueFullError):
                        member.post(message)


def make() -> Service[Any]:
    """Make the service, with a room of its own."""
    room = Room()

    class Member(Handler[Any]):
        """One peer in the room."""

        def on_connect(self, conn: ConnectionBase[Any]) -> None:
            """Come in."""
            room.join(conn)

        def on_message(self, conn: ConnectionBase[Any], message: Any) -> None:
            """Say it."""
            room.say(conn, message)

        def on_close(self, conn: ConnectionBase[Any], reason: CloseReason) -> None:
            """Go out."""
            room.leave(conn)

    # Who only listens is no worse a member, and not late.
    service = callbacks(Member, name="chat", codec="lines:unterminated=deliver", timeouts={"first_message_s": None})
    return replace(service, datagram=None)  # a room has to know who is in it


DEFINITION = Definition("chat", "Relay each message to all other clients.", make)
