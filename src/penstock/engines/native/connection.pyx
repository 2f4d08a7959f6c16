"""A connection's states, output and deadlines, as `engines.pure.stream` has them, without an object per step."""

import contextvars

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

from .census cimport PENSTOCK_DEBUG, living
from .framing cimport NEED_DATA, clear, feed, framing_of, keep
from .patience cimport DEADLINES, LINGER, NOTHING_DUE, WRITE, IDLE, Patience, earliest, start
from .poller cimport READ_BYTES, Poller
from .transport cimport CONTINUE, REPORT_LOST, Transport

from ...core.deadlines import Deadline
from ...core.endings import reason_of, why_not
from ...core.events import Event, EventName
from ...core.inbound import StreamInbound
from ...core.output import Backlog
from ...core.states import TRANSITIONS, Happening, State, after
from ...errors import ConnectionEndedError, LocalProtocolError, RemoteProtocolError, SlowPeerError
from ...reasons import CloseReason
from ..wire import next_connection_id

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SOL_SOCKET
        SO_LINGER
        SO_DOMAIN
        AF_INET
        AF_INET6
    int setsockopt(int fd, int level, int option, const void* value, unsigned int size)
    int getsockopt(int fd, int level, int option, void* value, unsigned int* size)
    struct linger:
        int l_onoff
        int l_linger

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

cdef object ABORTED = CloseReason.ABORTED
cdef object DONE = CloseReason.DONE
cdef object DRAINED = CloseReason.DRAINED
cdef object HANDLER_ERROR = CloseReason.HANDLER_ERROR
cdef object NETWORK = CloseReason.NETWORK
cdef object PEER_CLOSED = CloseReason.PEER_CLOSED
cdef object SLOW_CONSUMER = CloseReason.SLOW_CONSUMER


cdef class Host:
    """What connections need of the server that made them.

    Args:
        poller: Serves their sockets.
        loop: Whose it is.
        plan: What the server was told to do.
        released: Called once for each, when the transport is gone and the handler has ended.
    """

    def __init__(self, Poller poller, loop, plan, released):
        limits = plan.limits
        self.poller = poller
        self.loop = loop
        self.clock = plan.clock
        self.emit = plan.emit
        self.released = released
        self.budget = plan.budget
        self.context = contextvars.copy_context()
        self.patience = Patience(plan.timeouts)
        self.codec = plan.service.codec
        self.framing = framing_of(self.codec)
        self.limits = limits
        self.write_high = limits.write_high_bytes
        self.write_low = limits.write_low_bytes
        self.read_size = min(limits.read_bytes, READ_BYTES)
        self.batch_messages = limits.batch_messages


cdef class Connection(Transport):
    """One peer. What happens to its messages is a subclass's.

    Args:
        host: Where it belongs.
        peer: Who is at the other end.
        local: The address at this end.
    """

    is_datagram = False

    def __cinit__(self, *args):
        if PENSTOCK_DEBUG:
            living.connections += 1
        self.input.block = self.input.at = self.input.end = NULL
        self.input.size = self.input.searched = 0

    def __dealloc__(self):
        clear(&self.input)
        if PENSTOCK_DEBUG:
            living.connections -= 1

    def __init__(self, Host host, peer, local):
        self.id = next_connection_id()
        self.host = host
        self.poller = host.poller
        self.codec = host.codec
        self.framing = host.framing
        if self.framing is None:
            self.inbound = StreamInbound(self.codec)
            self.batch = []
        self.peer = peer
        self.local = local
        self.read_size = host.read_size
        self.limits = host.limits
        self.high = host.write_high
        self.low = host.write_low
        self.patience = host.patience
        self.condition = OPEN
        self.corking = True  # until there is a transport
        self.armed_at = INFINITY
        start(&self.clocks, self.time())

    def __repr__(self):
        return f"<connection {self.id} {self.peer} {STATES[self.condition].value}>"

    def begin(self, int fd):
        """Take over a connected, non-blocking socket and tell the handler."""
        self.fd = fd
        try:
            self.adopted()
        except Exception as error:
            self.failed(error)

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
        if self.draining:  # since before there was a transport
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

    def drain(self):
        """Handle what was received whole, then close with ``drained``."""
        raise NotImplementedError

    # -- the state -----------------------------------------------------------------------------------------------------

    cdef double time(self) except -1:
        if self.host.clock is not None:
            return self.host.clock.time()
        return self.poller.now if self.poller.dispatching else self.poller.clock()

    cdef bint can_send(self) noexcept:
        return self.condition == OPEN or self.condition == PEER_EOF

    cdef bint can_receive(self) noexcept:
        return self.condition == OPEN or self.condition == LOCAL_EOF

    cdef bint leaving(self) noexcept:
        return self.condition >= CLOSING

    cdef int happen(self, int happening) except -1:
        cdef int follows = AFTER[self.condition][happening]
        if follows < 0:
            after(STATES[self.condition], HAPPENINGS[happening])  # raises, in the table's own words
        self.condition = <unsigned char>follows
        return 0

    # -- what the transport reports ------------------------------------------------------------------------------------

    cdef int data_received(self, const char* data, Py_ssize_t size) except -1:
        self.bytes_in += size
        if not self.can_receive() or self.draining:
            return 0
        self.clocks.idle = self.time()
        if self.framing is not None:
            feed(&self.input, data, size)
        else:
            self.inbound.feed(PyBytes_FromStringAndSize(data, size))
        try:
            self.received()
        finally:
            if self.framing is not None:
                keep(&self.input)  # the shared buffer is about to be written again
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
        if self.close_reason is None:
            self.close_reason = reason_of(error)
        self.condition = CLOSED
        self.gone = True
        self.forget_input()
        self.disarm()
        self.backlog = None
        self.write_paused = False
        self.owe(0)
        if self.begun:
            self.ended()
        else:
            self.release_to_host()
        return 0

    cdef int pause_writing(self) except -1:
        cdef bint was_paused = self.write_paused
        self.write_paused = True
        self.owe(self.all_owed())
        if not was_paused and not self.leaving():
            self.host.emit(Event(EventName.READING_PAUSED, self))
            self.stall_began()
            self.pause_reading()
        return 0

    cdef int resume_writing(self) except -1:
        if self.backlog:
            self.refill(self.high)
            if self.owed() > self.high:
                return self.stall_began()
        self.write_paused = False
        self.owe(0)
        self.clocks.stalled = INFINITY
        if self.leaving():
            return self.flushed()
        self.host.emit(Event(EventName.READING_RESUMED, self))
        return self.output_resumed()

    cdef int failed(self, object error) except -1:
        self.host.loop.call_exception_handler(
            {"message": "the native engine failed to serve a connection", "exception": error}
        )
        return self.break_down(error)

    # -- input ---------------------------------------------------------------------------------------------------------

    cdef Py_ssize_t pending_bytes(self) except -1:
        """Return how many received bytes no message has taken yet."""
        return self.input.end - self.input.at if self.framing is not None else self.inbound.pending_bytes

    cdef object next_message(self, Py_ssize_t limit):
        """Return the next message, or NEED_DATA.

        Raises:
            RemoteProtocolError: The next frame is bad.
        """
        if self.framing is not None:
            return self.framing.cut(&self.input)
        if self.batch_at == len(self.batch):
            self.batch = self.inbound.take(limit)
            self.batch_at = 0
            if not self.batch:
                return NEED_DATA
        message = self.batch[self.batch_at]
        self.batch_at += 1
        return message

    cdef int switch(self, object codec) except -1:
        """Cut what no message has taken yet, and what follows, with another codec."""
        cdef Framing framing = framing_of(codec)
        cdef bytes rest
        if self.framing is not None:
            self.input.searched = 0
            if framing is None:
                self.inbound = StreamInbound(codec)
                self.inbound.feed(PyBytes_FromStringAndSize(self.input.at, self.input.end - self.input.at))
                self.batch = []
                self.batch_at = 0
                clear(&self.input)
        else:
            self.inbound.switch(codec, self.batch_at, len(self.batch) - self.batch_at)
            self.batch = []
            self.batch_at = 0
            if framing is not None:
                rest = self.inbound._chunk  # where `switch` has put all there is
                self.inbound = None
                feed(&self.input, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
                keep(&self.input)
        self.framing = framing
        self.codec = codec
        return 0

    cdef int forget_input(self) except -1:
        if self.framing is not None:
            clear(&self.input)
        else:
            self.inbound.clear()
            self.batch = []
            self.batch_at = 0
        return 0

    # -- output --------------------------------------------------------------------------------------------------------

    def post(self, message):
        """Queue one message; never wait."""
        if not self.can_send() or self.leave_reason is not None:
            raise self.why_not()
        if self.write_paused and self.limits.slow_consumer != "disconnect":
            self.post_late(self.codec.encode(message))
        else:
            self.put_reply(message)

    def try_send(self, message):
        """Queue one message if output is not over its high watermark."""
        if not self.can_send() or self.leave_reason is not None:
            raise self.why_not()
        if self.corked_bytes and self.owed():
            self.uncork()  # what was gathered counts, and goes behind what waits
        if self.write_paused or self.corked_bytes > self.high:
            return False
        self.put_reply(message)
        return True

    @property
    def raises_when_full(self):
        """Whether `post` says to its caller that there is no room."""
        return self.limits.slow_consumer == "raise"

    def refusal(self):
        """Return what `post` would raise whatever the message, or None."""
        return None if self.can_send() and self.leave_reason is None else self.why_not()

    cdef int put_reply(self, object message) except -1:
        return self.put_message(message)

    cdef int put_message(self, object message) except -1:
        """Frame a message and put it after what is queued; send, unless a batch is being gathered."""
        cdef Py_ssize_t before
        if (
            self.framing is None
            or self.write_paused
            or not self.attached
            or (type(message) is bytes and PyBytes_GET_SIZE(message) >= WORTH_A_SEND)
        ):
            return self.put(self.codec.encode(message))
        before = self.out_end - self.out_at
        if not self.framing.put(self, message):
            return self.put(self.codec.encode(message))
        self.corked_bytes += self.out_end - self.out_at - before
        if not self.corking or self.corked_bytes > self.high:
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
        self.gather(PyBytes_AS_STRING(data), size)
        self.corked_bytes += size
        if self.attached and (not self.corking or self.corked_bytes > self.high):
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
        if self.corked_bytes and self.attached:
            self.sent(self.corked_bytes)
            self.corked_bytes = 0
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
        return self.owed() + self.corked_bytes + (0 if self.backlog is None else len(self.backlog))

    cdef Py_ssize_t most_owed(self) except -1:
        """Return what the peer may be owed while it is over its high watermark."""
        return self.limits.write_high_bytes if self.host.budget.exceeded else self.limits.write_max_bytes

    cdef int post_late(self, bytes data) except -1:
        """Queue a posted frame behind a full transport, or have something give way, as the policy has it."""
        if self.backlog is None:
            self.backlog = Backlog()
        excess = self.all_owed() + PyBytes_GET_SIZE(data) - self.most_owed()
        dropped = self.backlog.admit(data, self.limits.slow_consumer, excess)
        self.owe(self.all_owed())
        if dropped is not None:
            self.host.emit(Event(EventName.MESSAGE_DROPPED, self, dropped))
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
        if self.patience.lifetime_s != INFINITY:  # its age is nothing to close it for any more
            self.patience = Patience(self.patience.timeouts.merged(lifetime_s=None))
        # From here on the transport reports when nothing is left to flush, not when little is.
        self.set_watermarks(0, 0)
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
            self.clocks.stalled = INFINITY
            self.clocks.lingering = self.time()
            if self.patience.linger_s != INFINITY:
                self.arm(self.clocks.lingering + self.patience.linger_s)
        return 0

    cdef int lose(self, object reason) except -1:
        """End now. `connection_lost` follows a little later."""
        self.interrupt()
        if self.condition == CLOSED:
            return 0
        if self.close_reason is None:
            self.close_reason = reason
        self.happen(HAPPENED_LOST)
        self.forget_input()
        self.backlog = None
        self.disarm()
        if self.attached:
            self.reset_on_close()
            self.break_down(None)
        return 0

    def reset_on_close(self):
        """Make the kernel forget unsent output and tell the peer with a reset, so that a cut is never taken for an end."""
        cdef int family = 0
        cdef unsigned int size = sizeof(int)
        cdef linger never
        never.l_onoff = 1
        never.l_linger = 0
        getsockopt(self.fd, SOL_SOCKET, SO_DOMAIN, &family, &size)
        if family == AF_INET or family == AF_INET6:
            setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &never, sizeof(never))  # a peer may have been faster

    cdef int break_off(self, object error) except -1:
        """The peer broke the framing: what was answered before still goes out."""
        self.host.emit(Event(EventName.PROTOCOL_ERROR, self, {"error": error}))
        return self.leave(error.reason)

    cdef int handler_failed(self, object error) except -1:
        """Report a handler's exception once, and end this connection alone."""
        if (self.leaving() or self.close_reason is not None) and isinstance(
            error, (ConnectionEndedError, RemoteProtocolError)
        ):
            return 0  # it noticed that the connection has ended, and left it at that
        self.host.emit(Event(EventName.HANDLER_FAILED, self, {"error": error}))
        # A close that the handler asked for would have come after its return.
        self.leave_reason = HANDLER_ERROR
        return self.leave(HANDLER_ERROR)

    cdef int release_to_host(self) except -1:
        """Transport and handler are both gone."""
        self.host.emit(
            Event(
                EventName.CLOSED,
                self,
                {
                    "reason": self.close_reason,
                    "bytes_in": self.bytes_in,
                    "bytes_out": self.bytes_out,
                    "duration_s": self.time() - self.clocks.opened,
                },
            )
        )
        self.host.released(self)
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
        self.limits = self.limits.merged(**limits)
        if not self.leaving():
            self.set_watermarks(self.limits.write_high_bytes, self.limits.write_low_bytes)

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def set_timeouts(self, **timeouts):
        """Change this connection's timeouts."""
        self.patience = Patience(self.patience.timeouts.merged(**timeouts))
        if self.condition != CLOSED:
            self.arm_earliest()

    def set_handler(self, handler):
        """Refuse: only callbacks can be exchanged."""
        raise LocalProtocolError("the handler of this connection is a function: it decides itself what to call next")

    cdef int stall_began(self) except -1:
        self.clocks.stalled = self.time()
        self.stalled_bytes = self.bytes_out - self.owed()
        if self.patience.write_s != INFINITY:
            self.arm(self.clocks.stalled + self.patience.write_s)
        return 0

    cdef bint has_progressed(self) except -1:
        """Whether the peer read as much as has to be read for reading it to go on, though not all that was owed."""
        cdef Py_ssize_t step = max(1, self.limits.write_high_bytes - self.limits.write_low_bytes)
        return self.bytes_out - self.owed() - self.stalled_bytes >= step

    cdef int arm(self, double when) except -1:
        """Have `tick` called no later than ``when``. An earlier timer is left alone: it sets the next one."""
        if when < self.armed_at:
            self.armed_at = when
            if self.host.clock is None:
                self.poller.wheel.set(self, when)
                self.poller.prod()
            else:
                if self.timer is not None:
                    self.timer.cancel()
                self.timer = self.host.clock.call_at(when, self._tick)
        return 0

    cdef int arm_earliest(self) except -1:
        cdef double when
        if earliest(&self.clocks, self.patience, self.pending_bytes(), &when) != NOTHING_DUE:
            self.arm(when)
        return 0

    cdef int disarm(self) except -1:
        self.armed_at = INFINITY
        self.poller.wheel.cancel(self)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return 0

    cdef int expired(self) except -1:
        try:
            self.tick()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.failed(error)
        return 0

    def _tick(self):
        self.timer = None
        self.tick()

    cdef int tick(self) except -1:
        cdef double when
        cdef int which
        self.armed_at = INFINITY
        if self.condition == CLOSED:
            return 0  # the peer's EOF was faster than the end of the wait for it; the transport is about to say so
        which = earliest(&self.clocks, self.patience, self.pending_bytes(), &when)
        if which == NOTHING_DUE:
            return 0
        if when > self.time():
            return self.arm(when)
        if which == LINGER:
            self.happen(HAPPENED_LOST)
            return self.break_down(None)
        if which == WRITE:
            return self.stall_began() if self.has_progressed() else self.lose(DEADLINES[which].value)
        return self.expire(which)

    cdef int expire(self, int which) except -1:
        reason = DEADLINES[which].value
        self.close_reason = reason
        if not self.timed_out(DEADLINES[which]):
            self.leave(reason)
        return 0
