"""A connection, as `engines.loop.stream` has it, without an object per step: its beginning, how it closes, its deadlines."""

from libc.math cimport INFINITY

from .census cimport PENSTOCK_DEBUG, living
from .origin cimport AF_UNIX
from .patience cimport DEADLINES, HANDSHAKE, IDLE, LIFETIME, LINGER, WRITE, Patience, start
from .states cimport (
    BOTH_EOF, CLOSED, CLOSING, FLUSHING, HAPPENED_CLOSE, HAPPENED_FLUSHED, HAPPENED_LOST, HAPPENED_PEER_EOF, LOCAL_EOF, OPEN, PEER_EOF
)
from .transport cimport Levels
from .uncompiled cimport CodecInput

from ...core.endings import reason_after, tells_of_its_end
from ...core.events import not_decoded, not_handled
from ...core.interrupts import is_interrupt
from ...errors import LocalProtocolError
from ...reasons import CloseReason
from ..wire import next_connection_id

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SOL_SOCKET
        SO_LINGER
    int setsockopt(int fd, int level, int option, const void* value, unsigned int size)
    struct linger:
        int l_onoff
        int l_linger

cdef object ABORTED = CloseReason.ABORTED
cdef object DONE = CloseReason.DONE
cdef object PEER_CLOSED = CloseReason.PEER_CLOSED


cdef class Connection(PartingTransport):
    """One peer. What happens to its messages is a subclass's."""

    is_datagram = False

    def __cinit__(self):
        if PENSTOCK_DEBUG:
            living.connections += 1

    def __dealloc__(self):
        if PENSTOCK_DEBUG:
            living.connections -= 1

    cdef int settle_in(self, Host host, object local, object handler) except -1:
        """Get ready to begin: a socket that was let in belongs to ``host``.

        Args:
            host: The server.
            local: The address at this end.
            handler: Whose; a subclass's business.
        """
        self.id = next_connection_id()
        self.host = host
        self.poller = host.poller
        self.framing = host.framing
        if self.framing is None:
            self.uncompiled = CodecInput(host.codec)
            self.watch_skips()
        self.local = local
        self.levels = host.levels
        self.patience = host.patience
        self.condition = OPEN
        self.corking = True  # until there is a transport
        start(&self.clocks, self.time())
        return 0

    cdef int take_up(self) except -1:
        """Serve the connected, non-blocking socket that is at hand, and tell the handler."""
        try:
            self.adopted()
        except BaseException as error:
            if is_interrupt(error):
                self.failed(error)
                raise
            self.failed(error)
        return 0

    cdef int adopted(self) except -1:
        self.open(self.fd)
        self.attached = True
        if self.condition == CLOSED:  # the server stopped between accept(2) and now
            self.reset_on_close()
            self.break_down(None)
            return 0
        if self.patience.lifetime_s != INFINITY:
            self.arm(self.clocks.opened + self.patience.lifetime_s)
        self.corking = False
        self.uncork()
        if self.leave_reason is not None:  # closed before its handler was told of it
            self.leave(self.leave_reason)
            return 0
        self.begun = True
        self.start()
        if self.drains:  # since before there was a transport
            self.drain()
        else:
            self.read_again()
        return 0

    @property
    def opened_at(self):
        """When it began, on the engine's clock."""
        return self.clocks.opened

    @property
    def server(self):
        """Whose connection it is; None for a client's."""
        return self.host.server

    def fileno(self):
        """Return the descriptor of the socket; -1 once it is closed."""
        return -1 if self.gone else self.fd

    # -- what a subclass does ------------------------------------------------------------------------------------------

    cdef int start(self) except -1:
        return 0

    cdef int received(self) except -1:
        return 0

    cdef int input_ended(self) except -1:
        return 0

    cdef int timed_out(self, object which) except -1:
        """Return 1 when the connection will leave by itself; else it is closed right after this."""
        return 0

    cdef int interrupt(self) except -1:
        return 0

    @property
    def draining(self):
        """Whether the server drains: what was received is handled, and nothing more will come."""
        return self.drains != 0

    def drain(self):
        """Handle what was received whole, then close with ``drained``."""
        raise NotImplementedError

    # -- what the transport reports ------------------------------------------------------------------------------------

    cdef int data_received(self, const char* data, Py_ssize_t size) except -1:
        self.bytes_in += size
        if not self.can_receive() or self.drains:
            return 0
        self.clocks.idle = self.time()
        self.take_in(data, size)
        try:
            self.received()
        finally:
            self.keep_rest()
        return 0

    cdef int eof_received(self) except -1:
        if self.condition != CLOSED:
            self.happen(HAPPENED_PEER_EOF)
            if self.leaving():
                self.shut()  # flushes what is left, if anything
            else:
                self.input_ended()
        return 0

    cdef int connection_lost(self, object error) except -1:
        self.condition = CLOSED
        self.handshake_is_over()
        self.gone = True
        self.backlog = None
        self.write_paused = False
        self.disown_input()
        self.disarm()
        self.lost_error = error
        return self.part()

    cdef void failed(self, object error) noexcept:
        if self.gone:
            self.part_soon()
        else:
            self.break_down(error)
        self.host.blame(error)

    # -- closing -------------------------------------------------------------------------------------------------------

    def close(self):
        """Flush what was queued, send EOF, then end the connection."""
        self.leave(DONE)

    def abort(self):
        """End the connection now."""
        self.lose(ABORTED)

    def cut(self, reason):
        """End the connection now, for a reason of the server's."""
        self.lose(reason)

    cdef int leave(self, object reason) except -1:
        """Close gracefully; the first reason given is the one that stays."""
        cdef bint eof_sent
        self.interrupt()
        if self.leaving():
            return 0
        if self.handling or not self.attached:
            if self.leave_reason is None:
                self.leave_reason = reason
            return 0
        if (self.condition == PEER_EOF or self.condition == BOTH_EOF) and reason is DONE:
            reason = PEER_CLOSED
        if self.close_reason is None:
            self.close_reason = reason
        self.uncork()
        self.refill(self.all_owed())
        eof_sent = self.condition == LOCAL_EOF or self.condition == BOTH_EOF
        self.happen(HAPPENED_CLOSE)
        try:
            return self.depart(eof_sent)
        except BaseException:
            self.break_down(None)  # half closed it would stay for ever: it ends at once
            raise

    cdef int depart(self, bint eof_sent) except -1:
        """The state is one of those that leave: flush, and send EOF."""
        cdef Levels levels
        self.held = False  # what still comes is dropped
        self.forget_input()
        self.clocks.first = self.clocks.idle = self.clocks.partial = INFINITY
        self.clocks.stalled = self.time()
        # From here on the transport reports when nothing is left to flush, not when little is.
        levels = self.levels
        self.set_levels(levels.of_leaving())
        if self.condition == FLUSHING:
            self.shut()  # flushes
            return self.stall_began()
        if not eof_sent:
            self.end_output()
        self.read_again()
        if self.owed():
            return self.stall_began()
        return self.flushed()

    cdef int flushed(self) except -1:
        if self.condition == CLOSING:
            self.happen(HAPPENED_FLUSHED)
            self.clocks.stalled = self.time()
            if self.patience.linger_s != INFINITY:
                self.arm(self.clocks.stalled + self.patience.linger_s)
        return 0

    cdef int lose(self, object reason) except -1:
        """End now. `connection_lost` follows a little later."""
        self.interrupt()
        if self.condition == CLOSED:
            return 0
        if self.close_reason is None:
            self.close_reason = reason
        self.happen(HAPPENED_LOST)
        self.backlog = None
        self.disarm()
        if self.attached:
            self.reset_on_close()
            self.break_down(None)
        self.forget_input()
        return self.owe(0)

    cdef void reset_on_close(self) noexcept:
        """Make the kernel forget unsent output and tell the peer with a reset, so that a cut is never taken for an end."""
        cdef linger never
        never.l_onoff = 1
        never.l_linger = 0
        if self.origin.family != AF_UNIX:
            setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &never, sizeof(never))  # a peer may have been faster
            self.reset_now()

    cdef int break_off(self, object error) except -1:
        """The framing is broken, by the peer or by the codec: what was answered before still goes out."""
        self.host.told(not_decoded(self, error))
        return self.leave(error.reason)

    cdef int handler_failed(self, object error) except -1:
        """Report a handler's exception once, and end this connection alone."""
        if (self.leaving() or self.close_reason is not None) and tells_of_its_end(error):
            return 0  # it noticed that the connection has ended, and left it at that
        self.host.told(not_handled(self, error))
        # A close that the handler asked for would have come after its return.
        self.leave_reason = reason_after(error)
        return self.leave(self.leave_reason)

    # -- input flow ----------------------------------------------------------------------------------------------------

    cdef int read_again(self) except -1:
        if not self.held:
            self.resume_reading()
        return 0

    # -- when memory is short ------------------------------------------------------------------------------------------

    @property
    def held_bytes(self):
        """How many bytes this process holds for the connection: received and not handled, sent and not taken."""
        return 0 if not self.attached or self.gone else self.pending_bytes() + self.all_owed()

    def suspend_reading(self):
        """Read no further until `unsuspend_reading`."""
        if self.attached and not self.leaving():
            self.held = True
            self.pause_reading()

    def unsuspend_reading(self):
        """Read again, unless something else keeps it from that."""
        if self.held:
            self.held = False
            if not self.leaving() and not self.write_paused:
                self.output_resumed()

    def close_if_idle(self, double share):
        """Close as at the idle deadline, when that ``share`` of the idle timeout has passed."""
        if self.clocks.idle == INFINITY or self.patience.idle_s == INFINITY or self.leaving():
            return
        if self.time() - self.clocks.idle >= self.patience.idle_s * share:
            self.expire(IDLE)

    def set_limits(self, **limits):
        """Change this connection's watermarks, hard limit or policy."""
        cdef Levels levels = self.levels
        before = levels.limits
        levels = Levels(before.merged(**limits))
        self.set_levels(levels.of_leaving() if self.leaving() else levels)

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def set_timeouts(self, **timeouts):
        """Change this connection's timeouts."""
        before = self.patience.timeouts
        self.patience = Patience(before.merged(**timeouts))
        if self.condition != CLOSED:
            self.arm_earliest()

    def set_handler(self, handler):
        """Refuse: only callbacks can be exchanged."""
        raise LocalProtocolError("the handler of this connection is a function: it decides itself what to call next")

    cdef int tick(self) except -1:
        if self.gone:
            return self.part()
        if self.condition == CLOSED:
            return 0  # the transport is about to say so
        return PartingTransport.tick(self)

    cdef int due(self, int which) except -1:
        if which == LINGER:
            self.happen(HAPPENED_LOST)
            self.break_down(None)
            return 0
        if which == HANDSHAKE:
            return self.lose(DEADLINES[which].value)
        if which == WRITE:
            return self.stall_began() if self.has_progressed() else self.lose(DEADLINES[which].value)
        return self.expire(which)

    cdef int expire(self, int which) except -1:
        reason = DEADLINES[which].value
        self.close_reason = reason
        if not self.timed_out(DEADLINES[which]):
            self.leave(reason)
        # A handler at work comes to its end first, and the peer's time to read what it sends counts meanwhile.
        return self.arm_earliest() if which == LIFETIME and self.condition != CLOSED else 0
