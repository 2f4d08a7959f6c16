"""How a connection begins: its socket, the layers over it, its handler; and TLS on one that is open."""

from .layered cimport Below
from .transport cimport Stack, top_of
from ..host cimport Host
from ..sealed cimport seal
from ..framing.uncompiled cimport CodecInput

from ....core.compiled_law.closing cimport _CLOSED as CLOSED, _LOCAL_EOF as LOCAL_EOF
from ....core.compiled_law.deadlines cimport _OF_LAYER as OF_LAYER

from ....config import Action
from ....core.events import HandshakeFailed
from ....core.interrupts import is_interrupt
from ....errors import LocalProtocolError, TlsError
from ....reasons import CloseReason
from ...connection import INJECTED
from ...wire import next_connection_id

cdef object REFUSED = CloseReason.REFUSED
cdef object RESET_ACTION = Action.RESET
cdef object SLOW_CONSUMER = CloseReason.SLOW_CONSUMER
cdef object TLS_HANDSHAKE = CloseReason.TLS_HANDSHAKE
cdef object TLS_INJECTED = CloseReason.TLS_INJECTED


cdef class OpeningConnection(TeardownTransport):
    """A connection until its handler is called, and while it goes over to TLS."""

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
            self.uncompiled = CodecInput(host.codec, skips_bad=host.skips_bad)
        self.local = local
        self.corking = True  # until there is a transport
        self._begin_law(host.levels, host.durations, self.time())
        return self.watch_input() if self.framing is None else 0

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
        maker, self.layer = self.layer, None
        self.open(self.fd)
        return self.linked() if maker is None else self.begin_layer(maker)

    cdef int begin_layer(self, object maker) except -1:
        """Put the layer between this and its socket; it says when to go on."""
        cdef Below below = Below.__new__(Below)
        below.transport = self
        bottom = maker(below)
        below.bottom = below.top = bottom
        self.layer = below
        bottom.connection_made(below)
        return 0

    cdef int layer_begins(self) except -1:
        if self._state == CLOSED:  # the server stopped between accept(2) and now
            self.reset_on_close()
            self.break_down(None)
        elif self.host.gate is not None:  # a client's user has a deadline of its own
            self.enter_handshake(OF_LAYER)
        return 0

    cdef int layer_begun(self) except -1:
        if self.host.gate is not None:
            self.leave_handshake(OF_LAYER)
        return 0

    cdef int layer_failed(self, object error) except -1:
        """Close without having begun."""
        if error.refusal is not None:
            return self.turn_away(error.refusal)
        if self in self.host.upgrades:
            del self.host.upgrades[self]
            return self.cannot_go_on(error)
        if self.host.gate is None:
            self.close_reason = self.close_reason or error.reason
            self._can_send = False
            return self.shut()
        self.host.told(HandshakeFailed(self, error))
        if self._close_after is None:
            self._close_after = error.reason
        return self.linked()

    # -- TLS on an open connection -------------------------------------------------------------------------------------

    def start_tls(self, tls=None, *, reply=None):
        """Speak TLS from now on, or once the handler of the message at hand has returned."""
        if self in self.host.upgrades or self.tls is not None:
            raise LocalProtocolError("TLS has begun already")
        self.refuse_owed_replies()
        if self.host.secure is None:
            raise LocalProtocolError("this connection was not made to speak TLS later")
        if not self._can_send or self._close_after is not None:
            raise self.why_not()
        if not self._attached:
            raise LocalProtocolError("TLS cannot begin before the connection has")
        maker = self.host.secure(tls)
        if reply is not None:
            self.post(reply)
        self.host.upgrades[self] = maker
        if self._handling:
            self.interrupt()
        else:
            self.begin_tls()

    @property
    def is_to_be_secured(self):
        """Whether TLS begins once the handler of the message at hand has returned."""
        return bool(self.host.upgrades) and self.host.upgrades.get(self) is not None

    cdef int begin_tls_if_due(self) except -1:
        """The handler has returned: have TLS begin if it asked for that."""
        if self.host.upgrades and self.is_to_be_secured:
            return self.begin_tls()
        return 0

    cdef int begin_tls(self) except -1:
        """Put the layer between socket and connection: what was sent before leaves in clear, nothing after it does."""
        cdef Stack stack
        maker = self.host.upgrades.pop(self)
        if self._closing or not self._can_send:
            return 0
        if self.unhandled() or self.pending_bytes():
            return self.cannot_go_on(TlsError(TLS_INJECTED, INJECTED))
        self.uncork()
        self.refill(self.all_owed())
        if self.lost:
            return 0
        self.host.upgrades[self] = None
        try:
            if not isinstance(self.layer, Stack):
                return self.begin_layer(maker)
            stack = <Stack>self.layer
            top = stack.top
            layer = maker(stack)
            top.hand_to(layer)
            layer.connection_made(top)
        except BaseException:  # whoever goes on after that would send in clear what was to be ciphered
            self.lose(TLS_HANDSHAKE)
            raise
        return 0

    cdef bint layer_reads_on(self) except -1:
        return bool(self.host.upgrades) and self in self.host.upgrades and self.host.upgrades[self] is None

    cdef bint refuses_clear(self) except -1:
        cdef Stack stack
        if not self.host.upgrades or self not in self.host.upgrades:
            return False
        error = TlsError(TLS_INJECTED, INJECTED)
        if self.host.upgrades[self] is None:
            stack = <Stack>self.layer
            stack.top.give_up(error)  # else the end of our output would wait for its handshake
        else:
            del self.host.upgrades[self]
            self.cannot_go_on(error)
        return True

    cdef int cannot_go_on(self, object error) except -1:
        """There is no TLS where there was to be: end what has begun in clear."""
        if self.host.gate is None:
            self.close_reason = self.close_reason or error.reason
            self._can_send = False
            self.shut()
        else:
            self.host.told(HandshakeFailed(self, error))
            self.leave(error.reason)
        return self.tls_is_settled()

    cdef int tls_is_settled(self) except -1:
        """The handshake is done, or there will be none: wake who waits for that."""
        return 0

    cdef int layer_keeps(self, Py_ssize_t size) except -1:
        if size > self._levels.limits.write_max_bytes:
            return self.lose(SLOW_CONSUMER)
        return 0

    cdef object introduced(self, object header):
        self.sockname_rest, refusal = header.introduce(self.host.gate, self.peer, self.time())
        return refusal

    cdef int turn_away(self, object refusal) except -1:
        """Turn away whom a proxy speaks for, as one is turned away who comes by himself."""
        rules = self.host.gate.rules
        from ....core.events.servers import refused_at  # a client refuses nobody
        self.host.told(refused_at(refusal, self.peer, self.local))
        if rules.action(refusal) is RESET_ACTION:
            return self.lose(REFUSED)
        if rules.text:
            top_of(self.layer).send(rules.text)
        if self._close_after is None:
            self._close_after = REFUSED
        return self.linked()

    cdef bint has_link(self) except -1:
        """Whether it has its socket, be it under a layer that has not begun."""
        return self._attached or isinstance(self.layer, Stack)

    cdef int linked(self) except -1:
        if self.host.upgrades and self in self.host.upgrades:
            del self.host.upgrades[self]
            self.watch_wanted()  # what the handshake alone was read for is read no more
            return self.tls_is_settled()
        self._attached = True
        if self._state == CLOSED:  # the server stopped between accept(2) and now
            self.reset_on_close()
            self.break_down(None)
            return 0
        self.arm(self._opened_at + self._durations.lifetime_s)
        self.corking = False
        self.uncork()
        if self._state == LOCAL_EOF:  # our direction was ended before there was a socket
            self.end_output()
        if self._close_after is not None:  # closed before its handler was told of it
            self.leave(self._close_after)
            return 0
        self.begun = True
        self.start()
        if self.drains:  # since before there was a transport
            self.drain()
        else:
            self.read_again()
        return 0

    # -- what a subclass does ------------------------------------------------------------------------------------------

    cdef int start(self) except -1:
        """Call its handler for the first time."""
        return 0

    cdef int interrupt(self) except -1:
        return 0

    cdef int leave(self, object reason) except -1:
        """Close gracefully."""
        return 0

    cdef void reset_on_close(self) noexcept:
        pass

    cdef int read_again(self) except -1:
        return 0


seal(globals())
