"""Messages of peers on standard output: one line each, whatever is in them."""

import errno
import logging
import os
import sys
import threading
import time
from typing import Any, Final

from ..core.contract import ConnectionBase
from ..core.texts import escape_text
from ..telemetry.log import Pace

logger = logging.getLogger("penstock")

# Of standard output: its reader went away, or it was closed.
NOBODY_READS: Final = frozenset({errno.EPIPE, errno.EBADF})
_failures: Final = Pace(1, time.monotonic)

# Handlers may run in several threads, and a line is written in one piece.
_lock = threading.RLock()


def describe(message: Any) -> str:
    """Write a message on one line: bytes as UTF-8, what is no text or would move the cursor as an escape."""
    if isinstance(message, bytes):
        # Only complete messages are decoded, so that a character cut between two reads is whole here.
        message = message.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    elif not isinstance(message, str):
        message = repr(message)
    return escape_text(message)


def show(conn: ConnectionBase[Any], message: Any) -> None:
    """Print ``peer: message``. A server whose standard output takes nothing goes on without.

    When its reader is gone, it says so at level debug; a full disk and the like are errors, told once a second.
    """
    data = f"{conn.peer}: {describe(message)}\n".encode("utf-8", "backslashreplace")
    try:
        # Past Python's buffer: a line is there at once, and none is left over to fail when the process ends. Not
        # descriptor 1 by number: where standard output was closed from the start, that may be somebody's socket.
        fd = sys.stdout.fileno()
        with _lock:
            while data:
                data = data[os.write(fd, data) :]
    except (OSError, ValueError, AttributeError) as error:  # broken, closed, or None from the start
        if not isinstance(error, OSError) or error.errno in NOBODY_READS:
            logger.debug("cannot print: %s", error)
        elif (more := _failures.more()) is not None:
            logger.error("cannot print: %s%s", (error.strerror or str(error)).lower(), more)
