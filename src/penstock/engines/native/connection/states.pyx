"""Who a connection is, where it stands in words, and the handshake that it may be in."""

from .sockname cimport peer
from ..sealed cimport seal

from ....core.compiled_law.closing cimport _CLOSED as CLOSED
from ....core.compiled_law.deadlines cimport _ANY as ANY, _OWN as OWN

from ....core.endings import reason_of, why_not
from ....core.states import State
from ....errors import LocalProtocolError
from ....core.contract import NO_HANDSHAKE

cdef tuple STATES = tuple(State)


cdef class StatefulTransport(ReceivingTransport):
    """A transport that is in one of the states, and goes from one to the next as the table says."""

    @property
    def peer(self):
        """Who is at the other end."""
        return peer(&self.sockname, self.sockname_rest)

    @property
    def proxy(self):
        """What the proxy has said through which the peer came; None where it came by itself."""
        return getattr(self.sockname_rest, "proxy", None)

    def __repr__(self):
        return f"<connection {self.id} {self.peer} {STATES[self._state].value}>"

    cdef object why_not(self):
        """Return the error for whoever uses a connection that is no longer there."""
        if self.lost and self.close_reason is None:  # the transport has met it, and will tell soon
            self.close_reason = reason_of(self.lost_error)
        return why_not(STATES[self._state], self.close_reason, leaving=self._close_after is not None)

    # -- the handshake -------------------------------------------------------------------------------------------------

    def begin_handshake(self):
        """Give the peer so long to show who it is."""
        if self.host.gate is None:
            raise LocalProtocolError(NO_HANDSHAKE)
        self.enter_handshake(OWN)

    def end_handshake(self):
        """The peer has shown who it is."""
        self.leave_handshake(OWN)

    cdef int enter_handshake(self, int whose) except -1:
        cdef double now
        if self._closing:
            return 0
        now = self.time()
        if self not in self.host.handshakes:
            take_place(self, now)
            if self._closing:
                return 0
        try:
            self._begins_handshake(now, whose)
        except BaseException:  # there was no memory to note it
            self.leave_handshake(whose)
            raise
        return self.arm_next()

    cdef int leave_handshake(self, int whose) except -1:
        """The peer has shown who it is to whoever it is: give the place at the gate back where that was the last one.

        Should that fail it is done by whatever ends a handshake next, or by the end of the connection.
        """
        self._ends_handshake(whose)
        if self.host.handshakes and not self._in_handshake():
            handshake = self.host.handshakes.get(self)
            if handshake is not None:
                handshake.end()
                if self.host.handshakes.get(self) is handshake:  # else a signal handler has done it meanwhile
                    del self.host.handshakes[self]
                    if self._in_handshake():  # or it has begun the next one, which had this place
                        take_place(self, self.time())
                if self._state != CLOSED:
                    self.arm_next()
        return 0

    cdef void handshake_is_over(self) noexcept:
        """The connection leaves. What fails for want of memory is tried again when it is gone."""
        try:
            self.leave_handshake(ANY)
        except Exception as error:
            self.host.blame(error)


cdef int take_place(StatefulTransport conn, double now) except -1:
    """Take a place at the gate, unless a signal handler has taken one meanwhile, or ended the connection."""
    handshake = conn.host.gate.begin_handshake(now)
    if conn._closing or conn in conn.host.handshakes:
        handshake.end()
        return 0
    try:
        conn.host.handshakes[conn] = handshake
    except BaseException:
        handshake.end()
        raise
    return 0


seal(globals())
