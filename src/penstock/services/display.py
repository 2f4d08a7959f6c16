"""Messages of peers on standard output: one line each, whatever is in them."""

import logging
import os
import sys
import threading
from typing import Any

from ..core.contract import ConnectionBase
from ..telemetry.escaping import escape_text

logger = logging.getLogger("penstock")

# Handlers may run in several threads, and a line is written in one piece.
_lock = threading.Lock()


def describe(message: Any) -> str:
    """Write a message on one line: bytes as UTF-8, what is no text or would move the cursor as an escape."""
    if isinstance(message, bytes):
        # Only complete messages are decoded, so that a character cut between two reads is whole here.
        message = message.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    elif not isinstance(message, str):
        message = repr(message)
    return escape_text(message)


def show(conn: ConnectionBase[Any], message: Any) -> None:
    """Print ``peer: message``. A server whose standard output is gone goes on without, and says so at level debug."""
    data = f"{conn.peer}: {describe(message)}\n".encode("utf-8", "backslashreplace")
    try:
        # Past Python's buffer: a line is there at once, and none is left over to fail when the process ends. Not
        # descriptor 1 by number: where standard output was closed from the start, that may be somebody's socket.
        fd = sys.stdout.fileno()
        with _lock:
            while data:
                data = data[os.write(fd, data) :]
    except (OSError, ValueError, AttributeError) as error:  # broken, closed, or None from the start
        logger.debug("cannot print: %s", error)
