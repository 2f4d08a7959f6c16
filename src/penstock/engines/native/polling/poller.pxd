from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from .wheel cimport Timed, Wheel

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLL_CLOEXEC
        EPOLLET
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK
    int eventfd(unsigned int value, int flags)

cdef enum:
    READ_BYTES = 256 * 1024  # the shared receive buffer
    EVENTS = 256  # taken from the kernel at once
    PLAIN_BYTES = READ_BYTES + 64 * 1024  # what one read comes to, and the record that began before it
    SPARE_BYTES = 64 * 1024  # the block of output that is kept for the next connection that needs one

cdef int MOST_IN_A_ROW, SIZE_SHIFT  # as core.turns has them

cdef struct Slot:
    PyObject* pollable  # owned
    uint32_t generation  # of the descriptor's number: what was reported of an earlier one is dropped


cdef class Pollable(Timed):
    """A descriptor of the engine's: served in compiled code, never a Python event."""

    cdef Poller poller
    cdef PyObject* following  # the next one with something to do

    cdef int ready(self, uint32_t events) except -1
    cdef int deferred(self, uint32_t todo) except -1
    cdef void failed(self, object error) noexcept
    cdef int look_after_task(self) except -1
    cdef int watch(self, uint32_t mask) except -1
    cdef void unwatch(self) noexcept
    cdef void defer(self, unsigned char todo) noexcept


cdef class Poller:
    cdef int epoll
    # An eventfd that a subclass has, -1 where it has none. Here, since a subclass's `__dealloc__` is called, too, where
    # `__cinit__` of this class has failed, and its own was never called.
    cdef int bell
    cdef bint begun  # the descriptors above are what they are: none is 0 of fresh memory
    cdef Slot* slots  # by descriptor
    cdef int slot_count
    cdef Wheel wheel
    # Pollables with something to do, in the order in which they got it; each is owned. Waiting costs no memory.
    cdef PyObject* first_waiting
    cdef PyObject* last_waiting
    cdef double now  # CLOCK_MONOTONIC in seconds, read once per batch
    cdef char* buffer  # what is read goes here
    cdef char* spare
    # Of TLS: what is deciphered and what is enciphered goes here. Who uses one has it alone, and gives it back.
    cdef char* plain
    cdef char* cipher
    cdef size_t cipher_size
    cdef object warm  # the sessions that keep OpenSSL's buffers: None until there is one
    cdef bint waits  # in epoll_wait(2), with the interpreter released
    cdef bint dispatching
    cdef bint direct  # nothing of the user's runs: a task that is woken now may be resumed on the spot
    cdef bint looking  # a connection reads and decides on its own: a clock that is told the time had it do so
    cdef bint running  # a task that was resumed so: no other can be meanwhile
    cdef int left  # of `MOST_IN_A_ROW`: what tasks may still do without waiting until the loop turns
    cdef int rations  # how many connections in the middle of a handshake may still be read before that
    cdef object loop
    cdef list hosts  # those that it serves
    cdef epoll_event events[256]

    cdef inline bint ends_turn(self) noexcept:
        """Take one off what is left; say whether the loop is to turn before that."""
        self.left -= 1
        if self.left >= 0:
            return False
        self.left = MOST_IN_A_ROW
        return True

    cdef double clock(self) noexcept
    cdef char* take_plain(self) except NULL
    cdef void give_plain(self, char* plain) noexcept
    cdef int control(self, int operation, int fd, uint32_t mask) except -1
    cdef int control_apart(self, int operation, int fd, uint32_t mask) noexcept
    cdef int adopt(self, Pollable pollable) except -1
    cdef int release(self, Pollable pollable) except -1
    cdef int grow(self, int fd) except -1
    cdef int turn(self, double timeout_s, list foreign) except -1
    cdef int dispatch(self, int count, list foreign) except -1
    cdef int foreign_ready(self, int fd, uint32_t events, list foreign) except -1
    cdef int run_waiting(self, PyObject* waiting) except -1
    cdef void wait_again(self, PyObject* waiting) noexcept
    cdef bint is_called(self) noexcept
    cdef void prod(self) noexcept
    cdef int shut(self) except -1
