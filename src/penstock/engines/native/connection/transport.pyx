"""A connected socket: bytes in, bytes out, watermarks, the end. What asyncio's selector transport does, in the same order.

Everything that ends it is reported a little later, by `connection_lost`, so that nobody finds its connection gone in the middle
of a call.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove
from posix.unistd cimport close as close_fd

from ..census cimport PENSTOCK_DEBUG, living
from ..polling.poller cimport EPOLLIN, EPOLLOUT, READ_BYTES, SPARE_BYTES, Pollable
from ..sealed cimport seal
from ..system cimport receive, send

from ...forked import tell_of_copies

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SHUT_WR
        SHUT_RDWR
    int shutdown(int fd, int how)

cdef extern from *:
    """
    #include <pthread.h>
    #include <sys/socket.h>
    /* Whether a child was forked, which has a copy of every descriptor: see engines/forked.py. */
    static int penstock_forked = 0;
    static void penstock_note_fork(void) { penstock_forked = 1; }
    static int penstock_watch_forks(void) { return pthread_atfork(NULL, penstock_note_fork, NULL); }
    static void penstock_disconnect(int fd)
    {
        const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
        if (connect(fd, &nobody, sizeof nobody) < 0) {
            /* The peer was faster. */
        }
    }
    """
    int penstock_forked
    int penstock_watch_forks()
    void penstock_note_fork() noexcept
    void penstock_disconnect(int fd) noexcept

if penstock_watch_forks() != 0:
    raise MemoryError

cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
        MREMAP_MAYMOVE
    void* MAP_FAILED
    void* mmap(void* address, size_t size, int protection, int flags, int fd, long offset)
    void* mremap(void* block, size_t size, size_t wanted, int flags)
    int munmap(void* block, size_t size)

cdef OSError os_error():
    return OSError(errno, os.strerror(errno))


cdef enum:
    # From this size on a block is a mapping of its own: growing it copies nothing, and its end gives everything back. In
    # the heap each block that was outgrown leaves a hole, and peers that do not read would cost twice what they are owed.
    MAPPED_BYTES = 524288


cdef Block* take_block(Py_ssize_t size) except NULL:
    cdef Block* block
    cdef void* mapped
    if size >= MAPPED_BYTES:
        mapped = mmap(NULL, sizeof(Block) + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        block = NULL if mapped == MAP_FAILED else <Block*>mapped
    else:
        block = <Block*>malloc(sizeof(Block) + size)
    if block == NULL:
        raise MemoryError
    block.size = size
    block.at = block.end = block.corked = 0
    return block


cdef void give_block(Block* block) noexcept:
    if block.size >= MAPPED_BYTES:
        munmap(block, sizeof(Block) + block.size)
    else:
        free(block)


cdef ssize_t hand_over(Transport transport, const void* data, size_t size) except -2:
    """Give the kernel bytes: all that leave a connection leave here. Return how many it took; -1 when that broke it."""
    cdef ssize_t taken = send(transport.fd, data, size)
    if taken >= 0:
        return taken
    if errno == EAGAIN or errno == EINTR:
        return 0
    transport.break_down(os_error())
    return -1


cdef class Bypass:
    """Between a connection and its socket, in the place of a layer."""

    cdef int receive(self, Transport transport, const char* data, Py_ssize_t size) except -1:
        """Bytes were read: have the connection take what they come to."""
        return 0

    cdef bint seals(self, Transport transport, const char* data, Py_ssize_t size) except -1:
        """Make of the connection's bytes what is to be sent, in memory. `flush` follows."""
        return False

    cdef int flush(self, Transport transport) except -1:
        """Send what was made."""
        return 0


cdef class Stack:
    pass


def note_copies():
    """As `engines.forked.note`."""
    penstock_note_fork()


tell_of_copies(note_copies)


cdef object top_of(object layer):
    """Return the layer that takes what is sent."""
    return (<Stack>layer).top if isinstance(layer, Stack) else layer


cdef class Transport(Pollable):
    """Owns a descriptor from `open` until it has reported the loss."""

    def __dealloc__(self):
        # Objects it refers to may be gone already: only its own memory and descriptor are looked at.
        if self.out != NULL:
            give_block(self.out)
            if PENSTOCK_DEBUG:
                living.blocks -= 1
        if self.fd >= 0:
            close_fd(self.fd)

    # -- what a subclass is told ---------------------------------------------------------------------------------------

    cdef bint refuses_clear(self) except -1:
        """Say whether what comes through a layer is refused, since TLS is to begin on it, and close then."""
        return False

    cdef int data_received(self, const char* data, Py_ssize_t size) except -1:
        return 0

    cdef int eof_received(self) except -1:
        return 0

    cdef int connection_lost(self, object error) except -1:
        return 0

    cdef int is_deaf(self) except -1:
        """It is about to be read no further."""
        return 0

    cdef int hears_again(self) except -1:
        """It is about to be read again."""
        return 0

    cdef int output_queued(self) except -1:
        """More waits for the kernel than before."""
        return 0

    cdef int output_sank(self) except -1:
        """The kernel took some of what waited for it."""
        return 0

    cdef int linked(self) except -1:
        """There is a socket, and the layer over it has begun, if there is one."""
        return 0

    cdef int layer_begins(self) except -1:
        """The layer needs the peer before `linked`, or `layer_failed`."""
        return 0

    cdef int layer_begun(self) except -1:
        """It has what it needed; `linked` follows."""
        return 0

    cdef int layer_failed(self, object error) except -1:
        """It never will."""
        return 0

    cdef int layer_keeps(self, Py_ssize_t size) except -1:
        """The layer has so many bytes that it has not sent, or the kernel has not taken."""
        return 0

    cdef bint layer_reads_on(self) except -1:
        """Whether a layer is at its handshake, which goes on though the connection itself is not to be read."""
        return False

    cdef object introduced(self, object header):
        """A proxy says who the peer is: return why the gate refuses that one, or None."""
        return None

    # -- the descriptor ------------------------------------------------------------------------------------------------

    cdef int open(self, int fd) except -1:
        """Take a connected, non-blocking socket."""
        self.fd = fd
        self.poller.adopt(self)
        return 0

    cdef int watch_wanted(self) except -1:
        cdef uint32_t mask = 0
        if not self.lost:
            if (self.reading or self.layer_reads_on()) and not self.read_over and not self.shutting:
                mask |= EPOLLIN
            if self.sending:
                mask |= EPOLLOUT
        if mask != self.mask:
            self.watch(mask)
        return 0

    cdef int ready(self, uint32_t events) except -1:
        # A hang-up or an error is met by whichever of the two is wanted.
        if self.mask & EPOLLIN and events & ~<uint32_t>EPOLLOUT:
            self.readable(True)
        if self.mask & EPOLLOUT and events & ~<uint32_t>EPOLLIN:
            self.writable()
        return 0

    # -- reading -------------------------------------------------------------------------------------------------------

    cpdef int pause_reading(self) except -1:
        if self._rare is not None and self.reading:
            self.is_deaf()
        self.reading = False
        return self.watch_wanted()

    cpdef int resume_reading(self) except -1:
        if self._rare is not None and not self.reading:
            self.hears_again()
        self.reading = True
        return self.watch_wanted()

    cdef bint readable(self, bint in_turn) except -1:
        """Read once. Return whether anything came.

        Args:
            in_turn: Not where the loop has read as many connections in the middle of a handshake as it may in one turn. Who
                decides about a peer reads what it has sent in any case: law 11.
        """
        cdef ssize_t size
        if self.layer is not None and (<Stack>self.layer).rationed and in_turn:
            if self.poller.rations == 0:
                return False  # the next turn is told of it once more
            self.poller.rations -= 1
        size = receive(self.fd, self.poller.buffer, min(self._levels.read_bytes, READ_BYTES))
        if size > 0:
            if self.layer is None:
                self.data_received(self.poller.buffer, size)
            else:
                self.pass_up(self.poller.buffer, size)
            return True
        if size == 0:
            self.read_over = True
            self.watch_wanted()
            if self.layer is None:
                self.eof_received()
            else:
                (<Stack>self.layer).bottom.eof_received()
            return True
        if errno != EAGAIN and errno != EINTR:
            self.break_down(os_error())
        return 0

    cdef int pass_up(self, const char* data, Py_ssize_t size) except -1:
        """Have what was read pass the layer."""
        cdef Stack stack = <Stack>self.layer
        cdef Bypass bypass = stack.bypass
        if bypass is not None and bypass.reads:
            return bypass.receive(self, data, size)
        stack.bottom.data_received(PyBytes_FromStringAndSize(data, size))
        return 0

    # -- writing -------------------------------------------------------------------------------------------------------

    cdef int gather(self, const char* data, Py_ssize_t size) except -1:
        """Put bytes after what is queued; `transmit` sends them."""
        cdef Block* out
        if self.lost or self.eof_due or self.shutting:
            return 0
        self.reserve(size)
        out = self.out
        memcpy(<char*>(out + 1) + out.end, data, size)
        out.end += size
        return 0

    cdef int transmit(self) except -1:
        """Send what is queued, as much as the kernel takes; the rest when it takes more."""
        cdef ssize_t size
        cdef Block* out = self.out
        if self.lost or out == NULL or out.end == out.at:
            return 0
        if not self.sending:
            size = hand_over(self, <char*>(out + 1) + out.at, out.end - out.at)
            if size < 0:
                return 0
            out.at += size
            if out.at == out.end:
                self.drop_output()
                return 0
            self.sending = True
            self.watch_wanted()
        return self.output_queued()

    cdef int transmit_object(self, bytes data) except -1:
        """Send bytes that are not worth copying, by the layer where there is one."""
        cdef Bypass bypass
        if self.layer is None:
            return self.transmit_below(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), NULL)
        bypass = self.bypass_out()
        if bypass is None:
            top_of(self.layer).send(data)
        elif bypass.seals(self, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)):
            bypass.flush(self)
        return 0

    cdef int transmit_corked(self) except -1:
        """Send what was gathered by the layer that there is."""
        cdef Bypass bypass = self.bypass_out()
        cdef Block* out = self.out
        cdef bint is_due
        if bypass is None:
            data = self.take_corked()
            try:
                return self.transmit_object(data)
            except BaseException:
                self.break_down(None)  # what was gathered, for those who were told that it is sent, is gone
                raise
        is_due = bypass.seals(self, <char*>(out + 1) + out.end - out.corked, out.corked)
        self.forget_corked()
        return bypass.flush(self) if is_due else 0

    cdef Bypass bypass_out(self):
        """Return what takes the bytes that are to be sent in the place of a layer, or None."""
        cdef Bypass bypass
        if not isinstance(self.layer, Stack):
            return None
        bypass = (<Stack>self.layer).bypass
        return bypass if bypass is not None and bypass.writes else None

    cdef bytes take_corked(self):
        """Take back what is being gathered: it has to pass the layer before it is output."""
        cdef Block* out = self.out
        cdef Py_ssize_t size = self.corked()
        if not size:
            return b""
        data = PyBytes_FromStringAndSize(<char*>(out + 1) + out.end - size, size)
        self.forget_corked()
        return data

    cdef void forget_corked(self) noexcept:
        """What was being gathered has gone another way."""
        cdef Block* out = self.out
        out.end -= out.corked
        out.corked = 0
        if out.at == out.end:
            self.drop_output()

    cdef int transmit_through(self, const char* data, Py_ssize_t size, Py_ssize_t* queued) except -1:
        """Send what comes out of the layer. However it ends, ``queued`` says how much of it needs not be sent again."""
        cdef bytes gathered = self.take_corked()  # has not passed the layer, and stays behind what has
        try:
            self.transmit_below(data, size, queued)
        finally:
            if gathered:
                self.gather(PyBytes_AS_STRING(gathered), PyBytes_GET_SIZE(gathered))
                if self.out != NULL:
                    self.out.corked = PyBytes_GET_SIZE(gathered)
        return 0

    cdef int transmit_below(self, const char* data, Py_ssize_t size, Py_ssize_t* queued) except -1:
        cdef ssize_t taken = 0
        if not (self.lost or self.eof_due or self.shutting):
            self.transmit()
            if not (self.lost or self.sending):
                taken = hand_over(self, data, size)
        if queued != NULL:
            queued[0] = size if taken < 0 else taken
        if taken < 0 or taken == size or self.lost or self.eof_due or self.shutting:
            if queued != NULL:
                queued[0] = size
            return 0
        self.gather(data + taken, size - taken)
        if queued != NULL:
            queued[0] = size
        if not self.sending:
            self.sending = True
            self.watch_wanted()
        return self.output_queued()

    cdef int writable(self) except -1:
        cdef ssize_t size
        cdef Block* out = self.out
        size = hand_over(self, <char*>(out + 1) + out.at, self.owed())
        if size <= 0:
            return 0
        out.at += size
        self.output_sank()
        if self.lost or self.owed():
            return 0
        if self.queued() == 0:
            self.drop_output()
        return self.all_sent()

    cdef int all_sent(self) except -1:
        self.sending = False
        self.watch_wanted()
        if self.shutting:
            self.finish(None)
        elif self.eof_due:
            shutdown(self.fd, SHUT_WR)  # a peer that was faster is met by the next read
        return 0

    # -- the end -------------------------------------------------------------------------------------------------------

    cdef int end_output(self) except -1:
        """End our direction after what is queued."""
        if self.layer is None:
            return self.end_output_below()
        top_of(self.layer).send_eof()
        return 0

    cdef int end_output_below(self) except -1:
        if not (self.eof_due or self.shutting or self.lost):
            self.eof_due = True
            if not self.owed():
                shutdown(self.fd, SHUT_WR)
        return 0

    cdef int shut(self) except -1:
        """Send what is queued, then close."""
        if self.layer is None:
            return self.shut_below()
        top_of(self.layer).close()
        return 0

    cdef int shut_below(self) except -1:
        if not self.shutting:
            self.shutting = True
            if self.owed():
                self.watch_wanted()
            else:
                self.finish(None)
        return 0

    cdef void break_down(self, object error) noexcept:
        """Close without sending what is queued; ``error`` is why, None when it was asked for."""
        if not self.lost:
            self.shutting = True
            self.drop_output()
            self.finish(error)

    cdef void finish(self, object error) noexcept:
        if not self.lost:
            self.lost = True
            self.sending = False
            self.lost_error = error
            self._can_send = False  # what is lost takes nothing more, though its end is told a little later
            self.unwatch()
            self.defer(REPORT_LOST)

    cdef int deferred(self, uint32_t todo) except -1:
        if todo & REPORT_LOST:
            error, self.lost_error = self.lost_error, None
            try:
                self.connection_lost(error)
            finally:
                self.poller.release(self)
                self.close_descriptor()
        return 0

    cdef void reset_now(self) noexcept:
        """Have the reset not wait for the last copy of the descriptor to be closed."""
        if penstock_forked:
            penstock_disconnect(self.fd)

    cdef void close_descriptor(self) noexcept:
        if penstock_forked:
            shutdown(self.fd, SHUT_RDWR)
        close_fd(self.fd)
        self.fd = -1

    # -- the block -----------------------------------------------------------------------------------------------------

    cdef int reserve(self, Py_ssize_t size) except -1:
        """See that ``size`` bytes fit behind the block's end."""
        cdef Py_ssize_t held, wanted
        cdef Block* out = self.out
        cdef Block* block
        cdef void* moved
        if out == NULL:
            if size <= SPARE_BYTES and self.poller.spare != NULL:
                out = <Block*>self.poller.spare
                self.poller.spare = NULL
                out.at = out.end = out.corked = 0
            else:
                out = take_block(max(size, SPARE_BYTES))
                if PENSTOCK_DEBUG:
                    living.blocks += 1
            self.out = out
            return 0
        if out.size - out.end >= size:
            return 0
        held = out.end - out.at
        wanted = max(2 * out.size, held + size)
        if out.size < MAPPED_BYTES and not (out.at and held + size <= out.size - out.size // 4):
            block = take_block(wanted)
            memcpy(block + 1, <char*>(out + 1) + out.at, held)
            block.corked = out.corked
            give_block(out)
            self.out = out = block
        elif out.at:
            memmove(out + 1, <char*>(out + 1) + out.at, held)
        out.at = 0
        out.end = held
        if out.size - held < size:
            moved = mremap(out, sizeof(Block) + out.size, sizeof(Block) + wanted, MREMAP_MAYMOVE)
            if moved == MAP_FAILED:
                raise MemoryError
            self.out = <Block*>moved
            self.out.size = wanted
        return 0

    cdef void drop_output(self) noexcept:
        cdef Block* out = self.out
        if out != NULL:
            self.out = NULL
            if out.size == SPARE_BYTES and self.poller.spare == NULL and self.poller.epoll >= 0:
                self.poller.spare = <char*>out
            else:
                give_block(out)
                if PENSTOCK_DEBUG:
                    living.blocks -= 1


seal(globals())
