"""One timer for all the deadlines of a connection: traffic moves instants, and the timer, when it fires, looks at them.

The timer is in the poller's wheel, or of the clock that the server was told to go by.
"""

from libc.math cimport INFINITY

from ..polling.poller cimport EPOLLIN, EPOLLOUT
from ..sealed cimport seal

from ....core.compiled_law.closing cimport _CLOSED as CLOSED
from ....core.compiled_law.deadlines cimport (
    _IDLE as IDLE, _LIFETIME as LIFETIME, _NOT_DUE as NOT_DUE, _SILENCE as SILENCE, _WRITE as WRITE
)

from ....core.interrupts import is_interrupt
from ...timing import AGAIN_S
from ...wire import READS_AT_ONCE as _READS_AT_ONCE

cdef double again_s = AGAIN_S
cdef int READS_AT_ONCE = _READS_AT_ONCE


cdef class DeadlinedTransport(Transport):
    """A transport with deadlines."""

    # -- what a subclass knows -----------------------------------------------------------------------------------------

    cdef Py_ssize_t pending_bytes(self) except -1:
        """Return how many received bytes no message has taken yet."""
        return 0

    cdef int happens_late(self, int which) except -1:
        """A deadline has passed, one of core.law.deadlines."""
        return 0

    cdef bint is_woken(self) noexcept:
        """Whether whoever waits for messages was told of something and has not run since."""
        return False

    cdef bint asks_whether_idle_may_stay(self) except -1:
        """Ask the handler about the connection, which is idle, if it wants to be; return whether that was done."""
        return False

    cdef int is_deaf(self) except -1:
        self._stops_listening(self.time())
        return 0

    cdef int hears_again(self) except -1:
        return self.arm(self._listens_again(self.time()))

    # -- the timer -----------------------------------------------------------------------------------------------------

    cdef double time(self) except -1:
        """Read the clock of the connection's host."""
        return self.host.time()

    cdef int arm(self, double when) except -1:
        """Have `tick` called no later than ``when``. An earlier timer is left alone: it sets the next one."""
        # Not of one that is closed: the wheel borrows what is in it, and nothing would take it out before it goes.
        if when < self.due_at and self._state != CLOSED:
            if self.host.clock is None:
                self.poller.wheel.set(self, when)
                self.poller.prod()
            else:
                # The later one is given up last: where there is no memory for this one, it goes on.
                timer, self.timer = self.timer, self.host.clock.call_at(when, self._tick)
                self.due_at = when
                if timer is not None:
                    timer.cancel()
        return 0

    cdef int arm_next(self) except -1:
        """Have `tick` called when the next deadline is due."""
        cdef double when = self._due_at(self.pending_bytes())
        return 0 if when == INFINITY else self.arm(when)

    cdef void disarm(self) noexcept:
        self.poller.wheel.cancel(self)
        timer, self.timer = self.timer, None
        if timer is not None:
            try:
                timer.cancel()
            except Exception as error:
                self.host.blame(error)

    cdef int expired(self) except -1:
        try:
            self.tick()
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.failed(error)
        return 0

    def _tick(self):
        self.timer = None
        self.due_at = INFINITY
        self.tick_told()

    def _tick_late(self):
        self.tick_told()

    cdef int tick_told(self) except -1:
        """A clock that is told the time has it that something is due. A handler may have told it: then once that has returned.

        What is read meanwhile would take the place of what is being handled, and be handled in the middle of it.
        """
        if self.is_within_handler():
            self.host.loop.call_soon(self._tick_late)
            return 0
        self.poller.looking = True
        try:
            self.tick()
        finally:
            self.poller.looking = False
        return 0

    cdef bint is_within_handler(self) noexcept:
        """Whether what calls in is, perhaps, called by what this engine is calling."""
        return self.poller.dispatching or self.poller.looking

    cdef int tick(self) except -1:
        """Do what is due."""
        cdef double now = self.time()
        cdef int which = self._due(now, self.pending_bytes())
        if NOT_DUE < which < LIFETIME and not (which == SILENCE and self._is_put_off(now)):  # it holds something against the peer
            self.look()
        return 0 if self.lost else self.decide()

    cdef int look(self) except -1:
        """Read what has come and send what waits, as far as the kernel lets: law 11."""
        cdef int turn
        if self.mask & EPOLLOUT:
            self.writable()
        for turn in range(READS_AT_ONCE):
            if not self.mask & EPOLLIN or not self.readable(False):
                break
        return 0

    cdef int decide(self) except -1:
        """Do what is due by now, or set the timer for what is next."""
        cdef double now
        cdef int which
        self.overdue = False
        now = self.time()
        which = self._due(now, self.pending_bytes())
        if which == NOT_DUE:
            return self.arm_next()
        if which < WRITE and self.is_woken():
            self.overdue = True
            return self.arm(now + again_s)  # it may not wait again for long, and other deadlines count
        if which == IDLE and self.asks_whether_idle_may_stay():
            return 0 if self._state == CLOSED else self.arm_next()
        self.happens_late(which)
        # Of its age: a handler at work comes to its end first, and the peer's time to read what it sends counts meanwhile.
        return self.arm_next() if which >= WRITE and self._state != CLOSED else 0


seal(globals())
