"""What the task of a connection runs, and how its steps are done in place, so that a message wakes no task.

A task that waits for its connection's messages hangs at a `Waiter`. When bytes were read for it, and nothing of the user's is
running, `Driven.step_in_place` does the task's next step: with the task as the current one, and in its context, as an eager task
is begun. When all that comes out of it is that it waits for the connection again, the task hangs where it did and was never woken.
Whatever else comes out of it (another future, a turn of the loop, its end, an exception) is the task's: it is woken at once, and
its step is handed what has come out already.
"""

from asyncio.tasks import _enter_task, _leave_task, current_task

from cpython.contextvars cimport PyContext_Enter, PyContext_Exit
from cpython.object cimport PyObject

from ..polling.poller cimport Poller
from ..sealed cimport seal
from .step cimport FINISHED, FRESH, STOP, advance
from .waiter cimport DONE, PENDING

cdef extern from *:
    bint PyCFunction_CheckExact(object function) noexcept
    PyObject* PyCFunction_GET_SELF(object function) noexcept

cdef enum:
    # What a step that was done in place has left for the task: `Step.handing`.
    NOTHING
    YIELDED  # `value` is what it awaits
    RETURNED  # `value` is what it has ended with
    RAISED  # `value` is the exception
    CANCELLED  # `value` is the exception to be raised where it stands


cdef class Driven(Step):
    """A coroutine of our own, as a task's, whose steps may be done without the task."""

    # -- what a subclass does ------------------------------------------------------------------------------------------

    cdef object proceed(self):
        """Go on: return what is to be awaited, or STOP with `value` set."""
        return STOP

    cdef object inject(self, object error):
        """Raise in the handler: return what is to be awaited then, or STOP with `value` set."""
        raise error

    # -- what its task asks for ----------------------------------------------------------------------------------------

    cdef object step(self):
        return self.proceed() if self.handing == NOTHING else self.hand_over()

    def throw(self, kind, value=None, traceback=None):
        """Raise in the handler; return what is awaited then."""
        error = kind if isinstance(kind, BaseException) else kind() if value is None else value
        yielded = self.inject(error) if self.handing == NOTHING else self.hand_over_cancelled(error)
        if yielded is STOP:
            raise StopIteration(self.value)
        return yielded

    cdef object hand_over(self):
        cdef int handing = self.handing
        self.handing = NOTHING
        value, self.value = self.value, None
        if handing == YIELDED:
            return value
        if handing == RETURNED:
            self.phase = FINISHED
            self.value = value
            return STOP
        if handing == RAISED:
            raise value
        return self.inject(value)

    cdef object hand_over_cancelled(self, object error):
        """The task was cancelled within the step that was done for it: what it awaits now is cancelled, as a task does."""
        cdef int handing = self.handing
        self.handing = NOTHING
        value, self.value = self.value, None
        if handing == RAISED:
            raise value
        if handing == CANCELLED:  # once more, before it has met the first one
            return self.inject(error)
        if handing == RETURNED:  # it has ended, and is cancelled all the same
            self.phase = FINISHED
            raise error
        if not getattr(value, "_asyncio_future_blocking", False) or not value.cancel(msg=error.args[0] if error.args else None):
            self.handing = CANCELLED
            self.value = error
        return value

    # -- in place ------------------------------------------------------------------------------------------------------

    cdef bint step_in_place(self, object task) except -1:
        """Do the next step of the task. Return False when only the task itself can do it: then nothing was done."""
        cdef Waiter waiter = self.conn.waiter
        cdef Poller poller = waiter.host.poller
        context, loop = waiter.context, waiter.host.loop
        if context is None or not PyCFunction_CheckExact(waiter.callback):
            return False
        if PyCFunction_GET_SELF(waiter.callback) != <PyObject*>task:
            return False  # it is another one that receives
        PyContext_Enter(context)
        try:
            _enter_task(loop, task)
            self.parked = waiter
            waiter.in_place = True
            poller.running = True
            try:
                yielded = advance(self)
                if yielded is not waiter:
                    self.handing = YIELDED
                    if yielded is STOP:
                        self.handing = RETURNED
                        self.phase = FRESH  # it has ended when its task has heard of it
                    else:
                        self.value = yielded
            except BaseException as error:
                self.handing = RAISED
                self.phase = FRESH
                self.value = error
            finally:
                poller.running = False
                waiter.in_place = False
                self.parked = None
                leave_task(loop, task)
        finally:
            PyContext_Exit(context)
        waiter.blocking = False
        if waiter.state != PENDING:
            return True  # the task has been called for meanwhile
        if self.handing != NOTHING:
            poller.direct = True
            waiter.settle(DONE, None)
        elif waiter.cancelled_in_place:
            waiter.settle(DONE, None)  # the task knows
        return True


cdef int leave_task(object loop, object task) except -1:
    """End what `_enter_task` began; where that fails, keep what the step has left.

    Without memory CPython 3.13 may have dropped the current task by itself, and then refuses to leave it.
    """
    failed = False
    try:
        _leave_task(loop, task)
    except BaseException:
        failed = True
    if failed and current_task(loop) is task:
        _leave_task(loop, task)
    return 0


seal(globals())
