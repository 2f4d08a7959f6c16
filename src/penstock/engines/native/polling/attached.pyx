"""The engine's epoll set beside the one of a loop that is not ours: uvloop's, an application's own."""

from libc.math cimport INFINITY
from posix.unistd cimport close as close_fd

from .poller cimport EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, Poller, epoll_ctl, eventfd
from ..sealed cimport seal


cdef class AttachedPoller(Poller):
    """A set of its own in a loop of somebody else's, which watches the set's descriptor.

    Args:
        loop: The running loop.

    Raises:
        OSError: There is no descriptor left.
    """

    def __cinit__(self, *_, **__):
        self.bell = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)
        if self.bell < 0:
            raise OSError("no descriptor is left to serve with")

    def __init__(self, loop):
        self.loop = loop
        self.handle_at = INFINITY
        self.grow(self.bell)
        loop.add_reader(self.epoll, self._turn)

    def _turn(self):
        self.prodded = False
        if self.alarmed:
            self.alarmed = False
            epoll_ctl(self.epoll, EPOLL_CTL_DEL, self.bell, NULL)
        try:
            self.turn(0, [])
        finally:
            self.prod()

    def _timer(self):
        self.handle = None
        self.handle_at = INFINITY
        self._turn()

    cdef void prod(self) noexcept:
        if self.dispatching or self.epoll < 0 or self.alarmed:
            return
        try:
            self.ask_for_turn()
        except Exception:
            self.ring()

    cdef int ask_for_turn(self) except -1:
        """Have the loop call back as soon as there is something to do."""
        cdef double next_at
        if self.first_waiting != NULL:
            if not self.prodded:
                self.loop.call_soon(self._prodded)
                self.prodded = True
            return 0
        next_at = self.wheel.next_at()
        if next_at < self.handle_at:
            handle, self.handle = self.handle, None
            self.handle_at = INFINITY
            if handle is not None:
                handle.cancel()
            # By its own clock: uvloop's loops start from another instant.
            self.handle = self.loop.call_at(self.loop.time() + max(0.0, next_at - self.clock()) + 0.001, self._timer)
            self.handle_at = next_at
        return 0

    cdef void ring(self) noexcept:
        """Make the set readable, which the loop sees without being asked for anything: it has no memory to be asked with."""
        self.alarmed = self.control_apart(EPOLL_CTL_ADD, self.bell, EPOLLIN) == 0

    def _prodded(self):
        if self.prodded and self.epoll >= 0:
            self._turn()

    def detach(self):
        """Leave the loop alone."""
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
        if self.epoll >= 0:
            if not self.loop.is_closed():
                self.loop.remove_reader(self.epoll)
            self.shut()
            close_fd(self.bell)
            self.bell = -1


seal(globals())
