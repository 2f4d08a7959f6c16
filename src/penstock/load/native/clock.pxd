from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef inline double clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec / 1e9


cdef class Alarm:
    cdef int fd
    cdef double at

    cdef void set(self, double instant) noexcept
    cdef void heard(self, double now) noexcept
