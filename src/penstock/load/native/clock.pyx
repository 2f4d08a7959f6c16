"""The clock of a compiled load, and an alarm that is more exact than the milliseconds of epoll_wait(2)."""

import os

from libc.errno cimport errno
from libc.string cimport memset
from posix.time cimport itimerspec
from posix.unistd cimport close as close_fd

from ...engines.native.sealed cimport seal

cdef extern from "<sys/timerfd.h>" nogil:
    enum:
        TFD_CLOEXEC
        TFD_NONBLOCK
        TFD_TIMER_ABSTIME
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* when, itimerspec* before)


cdef class Alarm:
    """A descriptor that can be read from an instant on.

    Raises:
        OSError: The system has none left.
    """

    # at: When it goes off, on `clock`; 0: it is not set.

    def __cinit__(self):
        self.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        if self.fd < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        if self.fd >= 0:
            close_fd(self.fd)

    cdef void set(self, double instant) noexcept:
        """Have it go off at an instant, which may be past; not at the one before."""
        cdef itimerspec when
        if instant != self.at:
            memset(&when, 0, sizeof(when))
            when.it_value.tv_sec = <long>instant
            when.it_value.tv_nsec = <long>((instant - when.it_value.tv_sec) * 1e9)
            timerfd_settime(self.fd, TFD_TIMER_ABSTIME, &when, NULL)
            self.at = instant

    cdef void heard(self, double now) noexcept:
        """Silence it, unless it was set to a later instant since it went off."""
        cdef itimerspec never
        if self.at <= now:
            memset(&never, 0, sizeof(never))
            timerfd_settime(self.fd, 0, &never, NULL)
            self.at = 0


seal(globals(), (Alarm,))
