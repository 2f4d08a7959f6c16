from libc.stdint cimport uint32_t

from ..polling.poller cimport Pollable

ctypedef unsigned char flag

cdef enum:
    # What is deferred: bits of Pollable.todo.
    REPORT_LOST = 1
    CONTINUE = 2


cdef struct Block:
    # Output, whose bytes follow: the first one to send at `at`. An idle connection has none.
    Py_ssize_t size
    Py_ssize_t at
    Py_ssize_t end
    Py_ssize_t corked  # of it, the last so many are still being gathered


cdef class Transport


cdef class Bypass:
    # Compiled code that does the work of the only layer there is. That one is still told of everything else.
    cdef flag reads  # takes what was read
    cdef flag writes  # takes what is to be sent

    cdef int receive(self, Transport transport, const char* data, Py_ssize_t size) except -1
    cdef bint seals(self, Transport transport, const char* data, Py_ssize_t size) except -1
    cdef int flush(self, Transport transport) except -1


cdef class Stack:
    # The layers of a connection: what is read goes to the one at the bottom, what is sent to the one at the top.
    cdef object bottom
    cdef object top
    cdef Bypass bypass  # None: they take it themselves
    cdef flag rationed  # it is read when it is its turn


cdef object top_of(object layer)


cdef class Transport(Pollable):
    cdef flag reading  # the connection wants to be read
    cdef flag read_over  # the peer's EOF was read
    cdef flag sending  # output waits for the kernel: EPOLLOUT is armed
    cdef flag eof_due  # our direction ends after what is queued
    cdef flag shutting  # closed once what is queued was sent
    cdef flag lost  # nothing more will be sent or received; `connection_lost` was or will be called
    # A subclass's, here because one byte was free: whoever was woken by what came in time calls `decide` when it waits again.
    cdef flag overdue
    cdef Block* out
    cdef object lost_error
    # The `Stack` that all bytes pass; None: it is its socket. Before it is open: what makes the layers. Once it has ended: the
    # top one, if it can be asked something.
    cdef object layer

    # What the connection is told.
    cdef int data_received(self, const char* data, Py_ssize_t size) except -1
    cdef bint refuses_clear(self) except -1
    cdef int eof_received(self) except -1
    cdef int connection_lost(self, object error) except -1
    cdef int is_deaf(self) except -1
    cdef int hears_again(self) except -1
    cdef int output_queued(self) except -1
    cdef int output_sank(self) except -1

    # What a layer tells it that needs the peer first.
    cdef int layer_begins(self) except -1
    cdef int layer_begun(self) except -1
    cdef int layer_failed(self, object error) except -1
    cdef object introduced(self, object header)
    cdef bint layer_reads_on(self) except -1
    cdef int layer_keeps(self, Py_ssize_t size) except -1

    # What the connection does.
    cdef int linked(self) except -1
    cdef int open(self, int fd) except -1
    cpdef int pause_reading(self) except -1
    cpdef int resume_reading(self) except -1
    cdef int gather(self, const char* data, Py_ssize_t size) except -1
    cdef int transmit(self) except -1
    cdef int transmit_object(self, bytes data) except -1
    cdef int transmit_corked(self) except -1
    cdef Bypass bypass_out(self)
    cdef int transmit_below(self, const char* data, Py_ssize_t size, Py_ssize_t* queued) except -1
    cdef int transmit_through(self, const char* data, Py_ssize_t size, Py_ssize_t* queued) except -1
    cdef int pass_up(self, const char* data, Py_ssize_t size) except -1
    cdef bytes take_corked(self)
    cdef void forget_corked(self) noexcept

    cdef inline Py_ssize_t owed(self) noexcept:
        """Return how many bytes wait for the kernel, without those that are still being gathered."""
        return 0 if self.out == NULL else self.out.end - self.out.at - self.out.corked

    cdef inline Py_ssize_t queued(self) noexcept:
        """Return how many bytes wait for the kernel, or are being gathered for it."""
        return 0 if self.out == NULL else self.out.end - self.out.at

    cdef inline Py_ssize_t corked(self) noexcept:
        """Return how many bytes are being gathered."""
        return 0 if self.out == NULL else self.out.corked

    cdef int end_output(self) except -1
    cdef int end_output_below(self) except -1
    cdef int shut(self) except -1
    cdef int shut_below(self) except -1
    cdef void break_down(self, object error) noexcept

    cdef int watch_wanted(self) except -1
    cdef bint readable(self, bint in_turn) except -1
    cdef int writable(self) except -1
    cdef int all_sent(self) except -1
    cdef void drop_output(self) noexcept
    cdef int reserve(self, Py_ssize_t size) except -1
    cdef void finish(self, object error) noexcept
    cdef void reset_now(self) noexcept
    cdef void close_descriptor(self) noexcept
