"""When the requests of an open loop are due: `penstock.load.pace.Pace`, compiled."""

from libc.math cimport INFINITY, fmax, fmin, sqrt

from ...engines.native.sealed cimport seal


cdef class Pace:
    """A pace that is kept.

    Args:
        pace: What was asked for.
    """

    def __init__(self, pace):
        self.first, self.last, self.ramp_s = pace.first, pace.last, pace.ramp_s
        self.growth = (self.last - self.first) / self.ramp_s if self.ramp_s > 0 else 0
        self.stride, self.offset = pace.stride, pace.offset

    cpdef int64_t due(self, double seconds) noexcept:
        """Return how many requests are due so many seconds after the beginning."""
        cdef double ramp_s = fmin(seconds, self.ramp_s)
        cdef double whole = self.first * ramp_s + self.growth * ramp_s * ramp_s / 2 + self.last * (seconds - ramp_s)
        cdef int64_t number = <int64_t>whole - self.offset
        return number // self.stride + 1 if number >= 0 else 0

    cpdef double due_at(self, int64_t number) noexcept:
        """Return when one is due, in seconds from the beginning."""
        cdef double wanted = <double>(number * self.stride + self.offset)
        cdef double in_ramp = (self.first + self.last) / 2 * self.ramp_s
        if wanted == 0:
            return 0
        if wanted > in_ramp:
            return self.ramp_s + (wanted - in_ramp) / self.last if self.last > 0 else INFINITY
        return 2 * wanted / (self.first + sqrt(fmax(0, self.first * self.first + 2 * self.growth * wanted)))


seal(globals())
