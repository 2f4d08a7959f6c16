"""What a handler may raise and a task may not: it would end the loop, or be taken for a cancellation, which has no place."""

from asyncio import CancelledError, current_task

from ....core.interrupts import is_interrupt


class Carried(Exception):
    """Raised in the place of ``error`` by what a task runs.

    Args:
        error: What the handler raised.
    """

    def __init__(self, error):
        self.error = error


cdef object carried(bint closed, object error):
    """Return what is to be raised, within the task, for what a handler has raised; ``closed``: its connection is."""
    # The server cancels only after it has cut the connection; any other cancellation is the handler's own.
    if isinstance(error, CancelledError) and closed and current_task().cancelling():
        return error
    if isinstance(error, (SystemExit, KeyboardInterrupt, CancelledError)) and not is_interrupt(error):
        return Carried(error)
    return error


cdef object unpacked(object error):
    """Return what the handler raised."""
    return error.error if isinstance(error, Carried) else error
