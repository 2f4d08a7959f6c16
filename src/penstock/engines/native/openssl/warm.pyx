"""Which sessions keep OpenSSL's two buffers between records: those that are at work, and not too many.

Python has OpenSSL give both back after each record (`SSL_MODE_RELEASE_BUFFERS`): an idle connection would hold 34 KiB more. That costs
two allocations of 17 KiB for a record and its reply, a tenth of a short message. So a session that is read twice within a second keeps
them, until it was not read for one. More than `MOST_WARM` of a loop do not.

A buffer that holds the beginning of a record must stay. Not every OpenSSL refuses to free it when that is just the five bytes of a
header: it would decipher the rest in memory that is no longer its own (CVE-2024-4741, whose fix no version number tells).
"""

from cython cimport no_gc_clear

from ..polling.poller cimport Poller
from ..polling.wheel cimport TICKS_PER_S, Timed
from ..sealed cimport seal
from .loaded cimport SSL_CTRL_CLEAR_MODE, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, openssl

cdef enum:
    PERIOD_S = 1


@no_gc_clear
cdef class Warm(Timed):
    """The sessions of one loop that keep their buffers."""

    def __dealloc__(self):
        if self.wheel is not None:  # None: it was made by hand, which is refused
            self.wheel.cancel(self)

    cdef void heard(self, Warmth* session, double now) noexcept:
        """A session was read that is none of these: take it in, unless it is the first read in a while."""
        cdef double since_s = now - session.heard_at
        session.heard_at = now
        if since_s >= PERIOD_S or self.count == MOST_WARM:
            return
        openssl.ssl_ctrl(session.ssl, SSL_CTRL_CLEAR_MODE, SSL_MODE_RELEASE_BUFFERS, NULL)
        session.place = self.count
        session.used = True
        self.sessions[self.count] = session
        self.count += 1
        if self.place < 0:
            self.wheel.set(self, now + PERIOD_S)

    cdef void leave(self, Warmth* session) noexcept:
        """Forget a session of these, which is about to go or to give its buffers back."""
        cdef Warmth* last = self.sessions[self.count - 1]
        self.sessions[session.place] = last
        last.place = session.place
        session.place = -1
        self.count -= 1

    cdef int expired(self) except -1:
        """Have those that were not read since the last time give their buffers back."""
        cdef int place = self.count
        cdef Warmth* session
        while place > 0:
            place -= 1
            session = self.sessions[place]
            if session.used:
                session.used = False
                continue
            self.leave(session)
            openssl.ssl_ctrl(session.ssl, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, NULL)
            if not session.begun[0]:  # else they go when the rest was read
                openssl.ssl_free_buffers(session.ssl)
        if self.count:
            self.wheel.set(self, self.wheel.epoch + <double>self.wheel.tick / TICKS_PER_S + PERIOD_S)
        return 0


cdef Warm warm_of(Poller poller):
    """Return those of a poller."""
    cdef Warm warm
    if poller.warm is None:
        warm = Warm.__new__(Warm)
        warm.wheel = poller.wheel
        poller.warm = warm
    return <Warm>poller.warm


seal(globals())
