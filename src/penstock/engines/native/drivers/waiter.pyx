"""What a coroutine awaits while it waits for a message: a future that resumes its task on the spot.

A task that awaits a future is told of its result by a callback, one turn of the loop later. When the engine has just read bytes
for it, and no other task is running, there is nothing to wait for: `Waiter` calls the task's callback at once, in the context the
task asked for. Everything the task sees is as ever: `asyncio.current_task`, timeouts, cancellation, context variables.
"""

from asyncio import CancelledError, InvalidStateError

from cpython.contextvars cimport PyContext_Enter, PyContext_Exit

from ..host cimport Host
from ..polling.poller cimport Poller
from ..sealed cimport seal


cdef class Waiter:
    """As much of an `asyncio.Future` as a task that awaits it, and the connection that wakes it, ask for."""

    def __await__(self):
        return self

    __iter__ = __await__

    def __next__(self):
        if self.state == PENDING and not self.yielded:
            self.yielded = True
            self.blocking = True
            return self
        if self.state == PENDING:
            raise RuntimeError("await wasn't used with future")
        self.result()
        raise StopIteration

    @property
    def _asyncio_future_blocking(self):
        return self.blocking != 0

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, bint blocking):
        self.blocking = blocking

    def get_loop(self):
        """Return the loop it belongs to."""
        return self.host.loop

    def done(self):
        """Whether it has a result, an exception or was cancelled."""
        return self.state != PENDING

    def cancelled(self):
        """Whether it was cancelled."""
        return self.state == CANCELLED

    def result(self):
        """Return None, or raise what it was given."""
        if self.state == PENDING:
            raise InvalidStateError("Result is not ready.")
        if self.state == CANCELLED:
            raise CancelledError if self.error is None else CancelledError(self.error)
        if self.error is not None:
            raise self.error

    def exception(self):
        """Return the exception it was given, or None."""
        if self.state == CANCELLED:
            self.result()
        return self.error

    def add_done_callback(self, callback, *, context=None):
        """Call ``callback(self)`` when it is done. There is one task that awaits it, and so one callback."""
        if self.state != PENDING:
            self.host.loop.call_soon(callback, self, context=context)
        elif self.callback is not None:
            raise RuntimeError("another task awaits the message already")
        else:
            self.callback = callback
            self.context = context

    def remove_done_callback(self, callback):
        """Forget the callback; return how many were forgotten."""
        if self.callback is None or self.callback != callback:
            return 0
        self.callback = self.context = None
        return 1

    def set_result(self, result):
        """Wake the task: on the spot, when the engine is about to do nothing else for this connection."""
        self.settle(DONE, None)

    def set_exception(self, error):
        """Wake the task with an exception."""
        self.settle(FAILED, error)

    def cancel(self, msg=None):
        """Wake the task with a CancelledError, at the loop's next turn. Return whether that was possible."""
        if self.state != PENDING:
            return False
        if self.in_place:  # to itself the task is running: then it waits for nothing that could be cancelled
            self.cancelled_in_place = True
            return False
        self.host.poller.direct = False
        self.settle(CANCELLED, msg)
        return True

    cdef int settle(self, int state, object error) except -1:
        cdef bint direct
        cdef Poller poller = self.host.poller
        if self.state != PENDING:
            raise InvalidStateError("invalid state")
        callback, context = self.callback, self.context
        if callback is None:
            self.error = error
            self.state = state
            return 0
        direct = poller.direct and context is not None
        # As long as this fails for want of memory, it can be woken another time.
        if direct:
            PyContext_Enter(context)
        else:
            self.host.loop.call_soon(callback, self, context=context)
        self.callback = self.context = None
        self.error = error
        self.state = state
        if not direct:
            return 0
        poller.direct = False  # from here on a task is running
        poller.running = True
        try:
            callback(self)
        except BaseException:
            resume_cancelled(self.host.loop, callback, self, context)
            raise
        finally:
            poller.running = False
            PyContext_Exit(context)
        return 0


cdef int resume_cancelled(object loop, object callback, object waiter, object context) except -1:
    """Cancel the task whose step failed outside of its coroutine: it awaits nothing, and nobody would ever resume it."""
    task = callback.__self__
    if not task.done():
        awaited = task._fut_waiter
        task.cancel()
        if awaited is None or awaited.done():
            loop.call_soon(callback, waiter, context=context)
    return 0


cdef Waiter waiter_of(Host host):
    """Return what a task of the host's loop waits at."""
    cdef Waiter waiter = Waiter.__new__(Waiter)
    waiter.host = host
    return waiter


seal(globals())
