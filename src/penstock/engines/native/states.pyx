"""Where a connection stands: `core.states` as numbers, why it ends, and the handshake that it may be in."""

from libc.math cimport INFINITY

from .origin cimport peer
from .patience cimport HANDSHAKE, Clocks, earliest

from ...core.endings import reason_of, why_not
from ...core.states import TRANSITIONS, Happening, State, after
from ...errors import LocalProtocolError
from ...core.contract import NO_HANDSHAKE

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


cdef class StatefulTransport(ReceivingTransport):
    """A transport that is in one of the states, and goes from one to the next as the table says."""

    @property
    def peer(self):
        """Who is at the other end."""
        return peer(&self.origin, self.origin_rest)

    def __repr__(self):
        return f"<connection {self.id} {self.peer} {STATES[self.condition].value}>"

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

    cdef object why_not(self):
        """Return the error for whoever uses a connection that is no longer there."""
        if self.lost and self.close_reason is None:  # the transport has met it, and will tell soon
            self.close_reason = reason_of(self.lost_error)
        return why_not(STATES[self.condition], self.close_reason, leaving=self.leave_reason is not None)

    # -- the handshake -------------------------------------------------------------------------------------------------

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
        if not self.shaking_hands and self.close_reason is None:
            return ReceivingTransport.earliest_due(self, when)
        clocks = self.clocks
        if self.close_reason is not None:
            # Told to end: a handler at work comes to its end first, and must not wait for ever for a peer to read.
            clocks.opened = INFINITY
        if not self.shaking_hands:
            return earliest(&clocks, self.patience, self.pending_bytes(), self.departs(), self.lingers(), when)
        clocks.first = clocks.idle = clocks.partial = INFINITY
        which = earliest(&clocks, self.patience, 0, False, False, when)
        due = self.host.handshakes[self].since + self.patience.handshake_s
        if due < when[0]:
            when[0] = due
            return HANDSHAKE
        return which
