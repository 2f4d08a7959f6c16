"""Daytime (RFC 867): the server's date and time, to each client.

Wire format: on connect the server sends one line and closes; what the client sends is thrown away. Over UDP any
datagram, the empty one too, is answered with one that holds the line.

The line is ``Saturday, November 21, 2026 09:26:53-UTC CR LF``, the first of the RFC's two examples: weekday, month,
day, year, time of day and time zone, in English, in ASCII, local time.
"""

import time
from collections.abc import Callable

from ..core.contract import ConnectionBase
from ..core.handlers import Handler
from ..core.service import Service, callbacks
from .definition import Definition

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def line(moment: time.struct_time) -> bytes:
    """Write a moment. Not by strftime(3), which writes in the language of the machine."""
    clock = f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}"
    date = f"{_DAYS[moment.tm_wday]}, {_MONTHS[moment.tm_mon - 1]} {moment.tm_mday}, {moment.tm_year}"
    return f"{date} {clock}-{moment.tm_zone}\r\n".encode("ascii", "replace")


def make(*, clock: Callable[[], float] = time.time) -> Service[bytes]:
    """Make the service.

    Args:
        clock: Tells the time, in seconds since the epoch.
    """

    class Daytime(Handler[bytes]):
        """Tell the time and leave."""

        def on_connect(self, conn: ConnectionBase[bytes]) -> None:
            """Tell it, whatever the peer has to say."""
            conn.post(line(time.localtime(clock())))
            conn.close()

    return callbacks(Daytime, name="daytime", codec="raw")


DEFINITION = Definition("daytime", "Send the date and time, then close (RFC 867).", make)
