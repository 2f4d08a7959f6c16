"""A connection's states, output and end, as `engines.pure.stream` has them, without an object per step."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport INFINITY

from .census cimport PENSTOCK_DEBUG, living
from .frames cimport put_framed
from .origin cimport AF_UNIX, caller, peer
from .patience cimport DEADLINES, HANDSHAKE, IDLE, LINGER, WRITE, Clocks, Patience, earliest, start
from .transport cimport Levels

from ...core.endings import reason_of, why_not
from ...core.events import Event, EventName
from ...core.output import Backlog
from ...core.states import TRANSITIONS, Happening, State, after
from ...errors import ConnectionEndedError, LocalProtocolError, RemoteProtocolError, SlowPeerError
from ...reasons import CloseReason
from ..base import NO_HANDSHAKE
from ..wire import next_connection_id

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SOL_SOCKET
        SO_LINGER
    int setsockopt(int fd, int level, int option, const void* value, unsigned int size)
    struct linger:
        int l_onoff
        int l_linger

# How long to wait before what could not be done for want of memory is tried again.
cdef double AGAIN_S = 0.05

# Replies of this size and more are sent from where they are, not copied together with others.
cdef Py_ssize_t WORTH_A_SEND = 16 * 1024

cdef tuple STATES = tuple(State)
cdef tuple HAPPENINGS = tuple(Happening)
cdef signed char AFTER[8][5]  # -1: it cannot happen


cdef int _tabulate() except -1:
    assert [state.name for state in STATES] == [
        "OPEN", "PEER_EOF", "LOCAL_EOF", "BOTH_EOF", "CLOSING", "FLUSHING", "LINGERING", "CLOSED"
    ]
    assert [happening.name for happening in HAPPENINGS] == ["PEER_EOF", "SEND_EOF", "CLOSE", "FLUSHED", "LOST"]
    cdef int row, column
    for row in range(8):
        for column in range(5):
            follows = TRANSITIONS[STATES[row]].get(HAPPENINGS[column])
            AFTER[row][column] = -1 if follows is None else STATES.index(follows)
    return 0


_tabulate()

cdef enum:
    # How far the end of a connection whose transport is gone has been carried out.
    HANDLER_ENDS = 1
    TO_BE_TOLD
    TO_LEAVE
    TO_GIVE_UP_PLACE
    DEPARTED

cdef object ABORTED = CloseReason.ABORTED
cdef object DONE = CloseReason.DONE
cdef object DRAINED = CloseReason.DRAINED
cdef object HANDLER_ERROR = CloseReason.HANDLER_ERROR
cdef object NETWORK = CloseReason.NETWORK
cdef object PEER_CLOSED = CloseReason.PEER_CLOSED
cdef object SLOW_CONSUMER = CloseReason.SLOW_CONSUMER


cdef class Connection(ReceivingTransport):
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
        self.local = local
        self.levels = host.levels
        self.patience = host.patience
        self.condition = OPEN
        self.corking = True  # until there is a transport
        start(&self.clocks, self.time())
        return 0

    cdef int take_place(self) except -1:
        """Be one of the host's connections."""
        cdef list connections = self.host.connections
        self.place = <unsigned int>len(connections)
        connections.append(self)
        return 0

    cdef int leave_place(self) except -1:
        """Be none of them any more. May be repeated."""
        cdef list connections = self.host.connections
        cdef Connection last
        if self.place < len(connections) and connections[self.place] is self:
            last = connections.pop()
            if last is not self:
                last.place = self.place
                connections[self.place] = last
        return 0

    @property
    def peer(self):
        """Who is at the other end."""
        return peer(&self.origin, self.origin_rest)

    def __repr__(self):
        return f"<connection {self.id} {self.peer} {STATES[self.condition].value}>"

    cdef int take_up(self) except -1:
        """Serve the connected, non-blocking socket that is at hand, and tell the handler."""
        try:
            self.adopted()
        except Exception as error:
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

    cdef int ended(self) except -1:
        return 0

    cdef int output_resumed(self) except -1:
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

    # -- the state -----------------------------------------------------------------------------------------------------

    cdef bint departs(self) noexcept:
        return self.condition >= CLOSING

    cdef bint lingers(self) noexcept:
        return self.condition == LINGERING

    cdef int happen(self, int happening) except -1:
        cdef int follows = AFTER[self.condition][happening]
        if follows < 0:
            after(STATES[self.condition], HAPPENINGS[happening])  # raises, in the table's own words
        self.condition = <unsigned char>follows
        if follows >= CLOSING:
            self.handshake_is_over()
        return 0

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

    cdef int pause_writing(self) except -1:
        self.owe(self.all_owed())
        if not self.leaving():
            self.host.told(Event(EventName.READING_PAUSED, self))
            self.stall_began()
            self.pause_reading()
        return 0

    cdef int resume_writing(self) except -1:
        if self.backlog:
            self.write_paused = True  # until what waits behind the transport was handed to it
            self.refill(self.levels.high)
            if self.owed() > self.levels.high:
                self.owe(self.all_owed())
                return self.stall_began()
            self.write_paused = False
        self.owe(0)
        self.clocks.stalled = INFINITY
        if self.leaving():
            return self.flushed()
        self.host.told(Event(EventName.READING_RESUMED, self))
        return self.output_resumed()

    cdef void failed(self, object error) noexcept:
        if self.gone:
            self.part_soon()
        else:
            self.break_down(error)
        self.host.blame(error)

    # -- output --------------------------------------------------------------------------------------------------------

    def post(self, message):
        """Queue one message; never wait."""
        if not self.can_send() or self.leave_reason is not None:
            raise self.why_not()
        if self.write_paused and self.levels.limits.slow_consumer != "disconnect":
            self.post_late(self.codec.encode(message))
        else:
            self.put_reply(message)

    def try_send(self, message):
        """Queue one message if output is not over its high watermark."""
        if not self.can_send() or self.leave_reason is not None:
            raise self.why_not()
        if self.corked() and self.owed():
            self.uncork()  # what was gathered counts, and goes behind what waits
        if self.write_paused or self.corked() > self.levels.high:
            return False
        self.put_reply(message)
        return True

    @property
    def raises_when_full(self):
        """Whether `post` says to its caller that there is no room."""
        return self.levels.limits.slow_consumer == "raise"

    def refusal(self):
        """Return what `post` would raise whatever the message, or None."""
        return None if self.can_send() and self.leave_reason is None else self.why_not()

    cdef int put_reply(self, object message) except -1:
        return self.put_message(message)

    cdef int put_message(self, object message) except -1:
        """Frame a message and put it after what is queued; send, unless a batch is being gathered."""
        cdef Framing framing = self.framing
        if (
            framing is None
            or self.write_paused
            or not self.attached
            or (type(message) is bytes and PyBytes_GET_SIZE(message) >= WORTH_A_SEND)
        ):
            return self.put(self.codec.encode(message))
        if not framing.put(self, message):
            return self.put(self.codec.encode(message))
        if not self.corking or self.corked() > self.levels.high:
            self.uncork()
        return 0

    cdef int put(self, bytes data) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if self.write_paused:
            self.charge(size)
            if self.backlog:
                self.backlog.keep(data)
                return 0
        if size >= WORTH_A_SEND and self.attached and not self.sending:
            self.uncork()
            self.sent(size)
            return self.transmit_object(data)
        put_framed(self, b"", 0, data, b"", 0)
        if not self.corking or self.corked() > self.levels.high:
            self.uncork()
        return 0

    cdef int sent(self, Py_ssize_t size) except -1:
        """Take note that bytes are handed to the transport."""
        self.bytes_out += size
        if not self.handling and self.clocks.idle != INFINITY:
            self.clocks.idle = self.time()
        return 0

    cdef int uncork(self) except -1:
        """Send what was gathered."""
        cdef Py_ssize_t corked = self.corked()
        if corked and self.attached:
            self.sent(corked)
            self.out.corked = 0
            self.transmit()
        return 0

    cdef int charge(self, Py_ssize_t size) except -1:
        """Hold what a peer that does not read is owed to the hard limit."""
        cdef Py_ssize_t most = self.most_owed() + (0 if self.backlog is None else self.backlog.posted_bytes)
        self.owe(self.all_owed() + size)
        if self.owed_bytes > most:
            self.lose(SLOW_CONSUMER)
            raise SlowPeerError(SLOW_CONSUMER)
        return 0

    cdef Py_ssize_t all_owed(self) except -1:
        """Return how many bytes wait: for the kernel, to be sent together, and behind both."""
        return self.queued() + (0 if self.backlog is None else len(self.backlog))

    cdef Py_ssize_t most_owed(self) except -1:
        """Return what the peer may be owed while it is over its high watermark."""
        limits = self.levels.limits
        return limits.write_high_bytes if self.host.budget.exceeded else limits.write_max_bytes

    cdef int post_late(self, bytes data) except -1:
        """Queue a posted frame behind a full transport, or have something give way, as the policy has it."""
        if self.backlog is None:
            self.backlog = Backlog()
        excess = self.all_owed() + PyBytes_GET_SIZE(data) - self.most_owed()
        dropped = self.backlog.admit(data, self.levels.limits.slow_consumer, excess)
        self.owe(self.all_owed())
        if dropped is not None:
            self.host.told(Event(EventName.MESSAGE_DROPPED, self, dropped))
        return 0

    cdef int refill(self, Py_ssize_t high) except -1:
        """Hand the transport what waits behind it, until it owes more than ``high`` bytes."""
        cdef bytes data
        while self.backlog and not self.lost:
            self.uncork()
            if self.owed() > high:
                break
            data = self.backlog.take(high - self.owed() + 1)
            self.sent(PyBytes_GET_SIZE(data))
            self.transmit_object(data)
        return 0

    cdef int owe(self, Py_ssize_t size) except -1:
        if size != self.owed_bytes:
            self.host.budget.used_bytes += size - self.owed_bytes
            self.owed_bytes = size
        return 0

    def send_eof(self):
        """End our direction after what was queued; go on receiving."""
        if self.can_send():
            self.happen(HAPPENED_SEND_EOF)
            self.uncork()
            self.refill(self.all_owed())
            self.end_output()

    cdef object why_not(self):
        """Return the error for whoever uses a connection that is no longer there."""
        return why_not(STATES[self.condition], self.close_reason, leaving=self.leave_reason is not None)

    # -- the end -------------------------------------------------------------------------------------------------------

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
        self.held = False  # what still comes is dropped
        self.forget_input()
        self.clocks.first = self.clocks.idle = self.clocks.partial = INFINITY
        self.clocks.stalled = self.time()
        # From here on the transport reports when nothing is left to flush, not when little is.
        self.set_levels(self.levels.of_leaving())
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
        return self.forget_input()

    def reset_on_close(self):
        """Make the kernel forget unsent output and tell the peer with a reset, so that a cut is never taken for an end."""
        cdef linger never
        never.l_onoff = 1
        never.l_linger = 0
        if self.origin.family != AF_UNIX:
            setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &never, sizeof(never))  # a peer may have been faster

    cdef int break_off(self, object error) except -1:
        """The peer broke the framing: what was answered before still goes out."""
        self.host.told(Event(EventName.PROTOCOL_ERROR, self, {"error": error}))
        return self.leave(error.reason)

    cdef int handler_failed(self, object error) except -1:
        """Report a handler's exception once, and end this connection alone."""
        if (self.leaving() or self.close_reason is not None) and isinstance(
            error, (ConnectionEndedError, RemoteProtocolError)
        ):
            return 0  # it noticed that the connection has ended, and left it at that
        self.host.told(Event(EventName.HANDLER_FAILED, self, {"error": error}))
        # A close that the handler asked for would have come after its return.
        self.leave_reason = HANDLER_ERROR
        return self.leave(HANDLER_ERROR)

    cdef int part(self) except -1:
        """The transport is gone: carry the end out, or what is left of it. What fails for want of memory is tried again."""
        if self.parting == DEPARTED:
            return 0
        try:
            if self.parting == 0:
                if self.close_reason is None:
                    self.close_reason = reason_of(self.lost_error)
                self.lost_error = None
                self.owe(0)
                self.parting = HANDLER_ENDS
            if self.parting == HANDLER_ENDS and self.begun:
                return self.ended()
            return self.released()
        except Exception as error:
            self.part_soon()
            self.host.blame(error)
        return 0

    cdef void part_soon(self) noexcept:
        if self.poller.epoll < 0:
            return  # the loop was closed
        if not self.parting_soon:
            self.parting_soon = True
            Py_INCREF(self)  # the wheel's entry is all that may be left of it
        self.poller.wheel.set(self, self.poller.clock() + AGAIN_S)
        self.poller.prod()

    cdef int released(self) except -1:
        """Transport and handler are both gone: say so, and give the place up."""
        if self.parting < TO_BE_TOLD:
            self.parting = TO_BE_TOLD
        if self.parting == TO_BE_TOLD:
            fields = {
                "reason": self.close_reason,
                "bytes_in": self.bytes_in,
                "bytes_out": self.bytes_out,
                "duration_s": self.time() - self.clocks.opened,
            }
            event = Event(EventName.CLOSED, self, fields)
            self.parting = TO_LEAVE
            self.host.told(event)
        if self.parting == TO_LEAVE:
            self.leave_handshake()
            if self.host.gate is not None:
                self.host.gate.leave(caller(&self.origin, self.origin_rest))
            self.parting = TO_GIVE_UP_PLACE
        self.leave_place()
        self.host.left()
        self.parting = DEPARTED
        return 0

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

    def hold(self):
        """Read no further until `unhold`."""
        if self.attached and not self.leaving():
            self.held = True
            self.pause_reading()

    def unhold(self):
        """Read again, unless something else keeps it from that."""
        if self.held:
            self.held = False
            if not self.leaving() and not self.write_paused:
                self.output_resumed()

    def let_go_if_idle(self, double share):
        """Close as at the idle deadline, when that ``share`` of the idle timeout has passed."""
        if self.clocks.idle == INFINITY or self.patience.idle_s == INFINITY or self.leaving():
            return
        if self.time() - self.clocks.idle >= self.patience.idle_s * share:
            self.expire(IDLE)

    def set_limits(self, **limits):
        """Change this connection's watermarks, hard limit or policy."""
        cdef Levels levels = Levels(self.levels.limits.merged(**limits))
        self.set_levels(levels.of_leaving() if self.leaving() else levels)

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def set_timeouts(self, **timeouts):
        """Change this connection's timeouts."""
        self.patience = Patience(self.patience.timeouts.merged(**timeouts))
        if self.condition != CLOSED:
            self.arm_earliest()

    def begin_handshake(self):
        """Give the peer so long to show who it is."""
        if self.host.gate is None:
            raise LocalProtocolError(NO_HANDSHAKE)
        if self.shaking_hands or self.leaving():
            return
        handshake = self.host.gate.begin_handshake(self.time())
        try:
            self.host.handshakes[self] = handshake
        except BaseException:
            handshake.end()
            raise
        self.shaking_hands = True
        self.arm_earliest()

    def end_handshake(self):
        """The peer has shown who it is."""
        self.leave_handshake()
        if self.condition != CLOSED:
            self.arm_earliest()

    cdef int leave_handshake(self) except -1:
        if self.shaking_hands:
            self.host.handshakes[self].end()
            del self.host.handshakes[self]
            self.shaking_hands = False
        return 0

    cdef void handshake_is_over(self) noexcept:
        """The connection leaves. What fails for want of memory is tried again when it is gone."""
        try:
            self.leave_handshake()
        except Exception as error:
            self.host.blame(error)

    cdef int earliest_due(self, double* when) except -1:
        cdef Clocks clocks
        cdef double due
        cdef int which
        if not self.shaking_hands:
            return ReceivingTransport.earliest_due(self, when)
        clocks = self.clocks
        clocks.first = clocks.idle = clocks.partial = INFINITY
        which = earliest(&clocks, self.patience, 0, False, False, when)
        due = self.host.handshakes[self].since + self.patience.handshake_s
        if due < when[0]:
            when[0] = due
            return HANDSHAKE
        return which

    def set_handler(self, handler):
        """Refuse: only callbacks can be exchanged."""
        raise LocalProtocolError("the handler of this connection is a function: it decides itself what to call next")

    cdef int stall_began(self) except -1:
        self.clocks.stalled = self.time()
        self.stalled_bytes = self.bytes_out - self.owed()
        if self.patience.write_s != INFINITY:
            self.arm(self.clocks.stalled + self.patience.write_s)
        return 0

    cdef bint has_progressed(self) noexcept:
        """Whether the peer read as much as has to be read for reading it to go on, though not all that was owed."""
        return self.bytes_out - self.owed() - self.stalled_bytes >= self.levels.step

    cdef int expired(self) except -1:
        if self.parting_soon:
            self.parting_soon = False
            Py_DECREF(self)
        return ReceivingTransport.expired(self)

    cdef int tick(self) except -1:
        if self.gone:
            return self.part()
        if self.condition == CLOSED:
            return 0  # the transport is about to say so
        return ReceivingTransport.tick(self)

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
        return 0
