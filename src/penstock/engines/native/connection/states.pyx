"""Who a connection is, where it stands in words, and the handshake that it may be in."""

from .sockname cimport peer
from ..sealed cimport seal

from ....core.compiled_law.closing cimport _CLOSED as CLOSED

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
        if self._in_handshake() or self._closing:
            return
        now = self.time()
        handshake = self.host.gate.begin_handshake(now)
        try:
            self.host.handshakes[self] = handshake
        except BaseException:
            handshake.end()
            raise
        self._begins_handshake(now)
        self.arm_next()

    def end_handshake(self):
        """The peer has shown who it is."""
        self.leave_handshake()
        if self._state != CLOSED:
            self.arm_next()

    cdef int leave_handshake(self) except -1:
        if self._in_handshake():
            self.host.handshakes[self].end()
            del self.host.handshakes[self]
            self._ends_handshake()
        return 0

    cdef void handshake_is_over(self) noexcept:
        """The connection leaves. What fails for want of memory is tried again when it is gone."""
        try:
            self.leave_handshake()
        except Exception as error:
            self.host.blame(error)


seal(globals())
