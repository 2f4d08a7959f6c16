"""A connection, as `engines.loop.stream` has it, without an object per step: what it hears, how it closes, its deadlines."""

from ..census cimport PENSTOCK_DEBUG, living
from .teardown cimport TeardownTransport
from .transport cimport Stack, top_of
from .sockname cimport AF_UNIX
from ..sealed cimport seal
from ..framing.uncompiled cimport CodecInput

from ....core.compiled_law.closing cimport (
    _CLOSED as CLOSED, _CLOSING as CLOSING, _DISCARD as DISCARD, _END as END, _INPUT_OVER as INPUT_OVER, _RESET as RESET,
    _SEND_EOF as SEND_EOF
)
from ....core.compiled_law.deadlines cimport (
    _CUT as CUT, _IDLE as IDLE, _RESTART as RESTART, _TAKE_REST as TAKE_REST, _TELL as TELL
)
from ....core.compiled_law.durations cimport Durations
from ....core.compiled_law.levels cimport Levels
from ....core.compiled_law.rate cimport _GO_ON as GO_ON

from functools import partial

from ....core.background import start_task
from ....core.contract import app_of
from ....core.deadline import Deadline
from ....core.endings import reason_after
from ....core.events import BadMessage, not_decoded, not_handled
from ....core.foreign import note_foreign
from ....core.interrupts import is_interrupt
from ....core.law.deadlines import TIMEOUTS
from ....core.texts import detail_of
from ....errors import LocalProtocolError, RemoteProtocolError
from ....reasons import CloseReason
from ...forked import duplicate
from ...link import Layer
from ...requests import give_up, put_request, request_of

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
cdef object MESSAGE_RATE = CloseReason.MESSAGE_RATE
cdef object PEER_CLOSED = CloseReason.PEER_CLOSED


cdef class Connection(OpeningConnection):
    """One peer. What happens to its messages is a subclass's."""

    is_datagram = False

    def __cinit__(self):
        if PENSTOCK_DEBUG:
            living.connections += 1

    def __dealloc__(self):
        if PENSTOCK_DEBUG:
            living.connections -= 1

    @property
    def opened_at(self):
        """When it began, on the engine's clock."""
        return self._opened_at

    @property
    def timeouts(self):
        """Its own."""
        return (<Durations>self._durations).timeouts

    @property
    def server(self):
        """Whose connection it is; None for a client's."""
        return self.host.server

    @property
    def tls(self):
        """What was agreed in the TLS handshake; None without TLS."""
        layer = top_of(self.layer)
        return layer.tls if layer is not None and isinstance(layer, Layer) else None

    @property
    def app(self):
        """The application whose service it talks to, or None."""
        return app_of(self.host.server)

    def task(self, work, *, name="", finish=False):
        """Run a coroutine beside the handler until it ends, or until the connection has."""
        return start_task(self, work, name, finish=finish)

    def task_begun(self):
        """A background task begins whose work the peer is owed."""
        self._begins_task()

    def task_over(self):
        """It has ended: close, if that was all there was to wait for."""
        if self._ends_task():
            self.leave(PEER_CLOSED)

    # -- requests to the peer ------------------------------------------------------------------------------------------

    async def request(self, message, timeout_s=None):
        """Send one message; return the reply to it."""
        return await request_of(self, message, timeout_s)

    def put_request(self, message, reply):
        """Send a request, and note who waits for its reply."""
        put_request(self, message, reply)

    def hears(self):
        """Whether what the peer sends from now on is read."""
        return self._can_receive and not self.drains

    def listens(self):
        """Read on, if nothing else but what waits to be received has stopped that."""

    def new_reply(self):
        """Return what waits for a reply: a future of whoever awaits it."""
        return self.host.loop.create_future()

    def time_reply(self, reply, timeout_s):
        """Have the reply given up after that time, when what has come by then was read: law 11."""
        clock = self.host.loop if self.host.clock is None else self.host.clock
        limit = Deadline.after(timeout_s, clock)
        return None if limit is None else clock.call_at(limit.at, partial(_give_up_reply, self, reply, limit))

    def fileno(self):
        """Return the descriptor of the socket; -1 once it is closed."""
        return -1 if self._gone else self.fd

    def another_fileno(self):
        """Return a duplicate of the descriptor, which its caller closes; -1 once the socket is closed."""
        return duplicate(self.fileno())

    # -- what a subclass does ------------------------------------------------------------------------------------------

    cdef int received(self) except -1:
        return 0

    cdef int input_ended(self) except -1:
        return 0

    cdef int timed_out(self, object which) except -1:
        """Return 1 when the connection will leave by itself; else it is closed right after this."""
        return 0

    cdef int rest_ended(self) except -1:
        """What the input's silence has made a message is to be handled."""
        return 0

    cdef int token_came(self) except -1:
        """There is room for a message again: `_allows` held it back before."""
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
        if not self._can_receive or self.drains:
            return 0
        self._idle_since = self.time()
        self.take_in(data, size)
        try:
            self.received()
        finally:
            self.keep_rest()
        return 0

    cdef int eof_received(self) except -1:
        cdef int verdict = self._got_eof()
        if verdict == END:
            self.shut()  # sends what is left, if anything
        elif verdict == INPUT_OVER:
            self.arm(self._peer_ended(self.time()))
            self.end_requests("the peer sent EOF")
            self.input_ended()
        return 0

    cdef int connection_lost(self, object error) except -1:
        cdef Stack stack
        if self.host.upgrades:
            self.host.upgrades.pop(self, None)
        if isinstance(self.layer, Stack):
            stack = <Stack>self.layer
            self.layer = None
            stack.bottom.connection_lost(error)
            top, stack.top, stack.bottom, stack.bypass = stack.top, None, None, None
            if top.tls is not None:  # to be asked for it; it has let go of everything else
                self.layer = top
        self._become(CLOSED)
        self.handshake_is_over()
        self._gone = True
        self._forgets_output()
        self.disarm()
        self.lost_error = error
        return self.part()

    cdef void failed(self, object error) noexcept:
        if self._gone:
            self.part_soon()
        else:
            self.break_down(error)
        self.host.blame(error)

    # -- closing -------------------------------------------------------------------------------------------------------

    def close(self, *, detail=""):
        """Flush what was queued, send EOF, then end the connection."""
        if detail:
            self._closes_because(detail_of(detail))
        self.leave(DONE)

    def abort(self):
        """End the connection now."""
        self.lose(ABORTED)

    def cut(self, reason):
        """End the connection now, for a reason of the server's."""
        self.lose(reason)

    cdef int leave(self, object reason) except -1:
        """Close gracefully; the first reason given is the one that stays."""
        cdef int verdict
        self.interrupt()
        verdict = self._closes(reason)
        if not verdict:
            return 0
        self.handshake_is_over()
        try:
            return self.depart(verdict)
        except BaseException:
            self.break_down(None)  # half closed it would stay for ever: it ends at once
            raise

    cdef int depart(self, int verdict) except -1:
        """The state is one of those that close: send all, and EOF."""
        self.uncork()
        self.refill(self.all_owed())
        self.held = False  # what still comes is dropped
        self.forget_input()
        if verdict & SEND_EOF:
            self.end_output()
        if verdict & DISCARD:
            self.read_again()
        if self.owed():
            self.stall_begins()
        if verdict & END:
            return self.shut()
        return 0 if self.owed() else self.flushed()

    cdef int flushed(self) except -1:
        cdef double now
        if self._state == CLOSING:
            now = self.time()
            self._sent_all_at(now)
            self.arm(now + self._durations.linger_s)
        return 0

    cdef int lose(self, object reason) except -1:
        """End now. `connection_lost` follows a little later."""
        self.interrupt()
        if self._state == CLOSED:
            return 0
        self._loses(reason)
        self.handshake_is_over()
        self._forgets_output()
        self.disarm()
        if self.has_link():
            self.reset_on_close()
            self.break_down(None)
        self.forget_input()
        return self.owe(0)

    cdef void reset_on_close(self) noexcept:
        """Make the kernel forget unsent output and tell the peer with a reset, so that a cut is never taken for an end."""
        cdef linger never
        never.l_onoff = 1
        never.l_linger = 0
        if self.sockname.family != AF_UNIX:
            setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &never, sizeof(never))  # a peer may have been faster
            self.reset_now()

    cdef int break_off(self, object error) except -1:
        """The framing is broken, by the peer or by the codec: what was answered before still goes out."""
        if not self.messages_in:
            note_foreign(error, self.first_bytes())
        self.host.told(not_decoded(self, error))
        if not isinstance(error, RemoteProtocolError) or not self.has_last_word():
            return self.leave(error.reason)
        self._refuses(error.reason, self.time())
        self.forget_input()
        return self.arm_next()

    cdef bint passes_over(self, object error) except -1:
        """Go on after a message that cannot be decoded, if that is wanted and possible; it counts as one that came."""
        cdef CodecInput uncompiled = self.uncompiled
        if not self.host.skips_bad or uncompiled is None or not isinstance(error, RemoteProtocolError):
            return False
        inbound = uncompiled.inbound
        if not inbound.pass_over(error):
            return False
        if self._levels.message_step_s != 0.0 and self._allows(1, self.time()) < 0:
            self.leave(MESSAGE_RATE)
        else:
            self.host.told(BadMessage(self, error))
        return True

    cdef int answer_bad_message(self, object callbacks, object error) except -1:
        """Call who is to be told of a message that was passed over, and post the answer."""
        answer = None
        if self._closing:
            return 0
        if self.host.on_bad_message is not None:
            answer = self.host.on_bad_message(self, error)
        elif self.host.callbacks_answer and callbacks is not None:
            answer = callbacks.on_bad_message(self, error)
        if answer is not None:
            self.post(answer)
        return 0

    cdef bint has_last_word(self) except -1:
        """Return whether its handler is told that the framing is broken, and closes it by coming to its end."""
        return False

    cdef int handler_failed(self, object error) except -1:
        """Report a handler's exception once, and end this connection alone."""
        if not self._fails(error):
            return 0  # it noticed that the connection has ended, and left it at that
        self.host.told(not_handled(self, error))
        return self.leave(reason_after(error))

    # -- input flow ----------------------------------------------------------------------------------------------------

    cdef int read_again(self) except -1:
        if not self.held:
            self.resume_reading()
        return 0

    # -- when memory is short ------------------------------------------------------------------------------------------

    @property
    def held_bytes(self):
        """How many bytes this process holds for the connection: received and not handled, sent and not taken."""
        return 0 if not self._attached or self._gone else self.pending_bytes() + self.all_owed()

    def suspend_reading(self):
        """Read no further until `unsuspend_reading`: memory is short."""
        if self._attached and not self._closing:
            self.held = True
            self.pause_reading()

    def unsuspend_reading(self):
        """Read again, unless something else keeps it from that."""
        if self.held:
            self.held = False
            if not self._closing and not self._write_paused:
                self.output_resumed()

    def close_if_idle(self, double share):
        """Close as at the idle deadline, when that ``share`` of the idle timeout has passed."""
        if not self._closing and self.time() - self._idle_since >= self._durations.idle_s * share:
            self.happens_late(IDLE)

    def set_limits(self, **limits):
        """Change this connection's watermarks, hard limit or policy."""
        cdef Levels before = self._levels
        merged = before.limits.merged(**limits)
        self._levels = Levels(merged)
        if self._attached and not self._closing:
            self.output_queued()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def set_timeouts(self, **timeouts):
        """Change this connection's timeouts."""
        cdef Durations before = self._durations
        merged = before.timeouts.merged(**timeouts)
        self._durations = Durations(merged)
        if self._state != CLOSED:
            self.arm_next()

    def set_handler(self, handler):
        """Refuse: only callbacks can be exchanged."""
        raise LocalProtocolError("the handler of this connection is a function: it decides itself what to call next")

    cdef int tick(self) except -1:
        if self._gone:
            return self.part()
        if self._state == CLOSED:
            return 0  # the transport is about to say so
        return TeardownTransport.tick(self)

    cdef int happens_late(self, int which) except -1:
        cdef int verdict = self._expires(which, self._has_progressed(self.owed()))
        if verdict == TELL:
            deadline = TIMEOUTS[which]
            if not self.timed_out(deadline):
                self.leave(deadline.value)
            # What its handler still sends has a peer that may not read it.
            return 0 if self._state == CLOSED else self.arm_next()
        if verdict == RESTART:
            return self.stall_begins()
        if verdict == RESET:
            return self.lose(TIMEOUTS[which].value)
        if verdict == CUT:
            self.break_down(None)
        elif verdict == GO_ON:
            return self.token_came()
        elif verdict == TAKE_REST:
            if self.ends_by_silence():
                self.rest_ended()
            return 0 if self._state == CLOSED else self.arm_next()
        return 0


def _give_up_reply(Connection conn, reply, limit):
    """The time for a reply is over. What has come within it is read first: law 11."""
    if conn.is_within_handler():  # as `tick_told`
        conn.host.loop.call_soon(_give_up_reply, conn, reply, limit)
        return
    if not reply.done() and not conn._gone:
        conn.poller.looking = True
        try:
            conn.look()
        except BaseException as error:
            if is_interrupt(error):
                raise
            conn.failed(error)
        finally:
            conn.poller.looking = False
    give_up(reply, limit)


seal(globals())
