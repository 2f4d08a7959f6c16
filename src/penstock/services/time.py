"""Time: each message comes back with the server's time before it.

Wire format: ``message LF`` → ``[Sat Nov 21 09:26:53 2026] message LF``: the time as ctime(3) writes it, local, in
ASCII. A line may end in CR LF, or in 400 ms of silence as long as the peer has ended none, and the last one need not
end at all. Over datagrams: ``message`` → ``[ctime] message``, byte for byte.

A connection answers any number of lines; a client that connects anew for each is served as well.
"""

import time
from collections.abc import Callable

from ..core.decorators import on_message
from ..core.service import Service
from .definition import LINES, Definition


def make(*, clock: Callable[[], float] = time.time) -> Service[bytes]:
    """Make the service.

    Args:
        clock: Tells the time, in seconds since the epoch.
    """

    def stamp(message: bytes) -> bytes:
        """Put the time before the message."""
        return b"[%s] %s" % (time.ctime(clock()).encode("ascii"), message)

    return on_message(codec=LINES, name="time")(stamp)


DEFINITION = Definition("time", "Reply to each message with [ctime] message.", make)
