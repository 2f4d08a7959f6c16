"""How a connection whose transport is gone leaves: step by step, each remembered, so that what had no memory is done later."""

from cpython.ref cimport Py_DECREF, Py_INCREF

from .sockname cimport caller
from ..sealed cimport seal

from ....core.compiled_law.deadlines cimport _ANY as ANY

from ....core.endings import reason_of
from ....core.events import Closed
from ....core.interrupts import is_interrupt

# How long to wait before what could not be done for want of memory is tried again.
cdef double AGAIN_S = 0.05

cdef enum:
    # How far the end of a connection whose transport is gone has been carried out.
    HANDLER_ENDS = 1
    TO_BE_TOLD
    TO_LEAVE
    TO_GIVE_UP_PLACE
    TORN_DOWN


cdef class TeardownTransport(SendingTransport):
    """A transport with a place: in its server's list, and at the gate."""

    cdef int ended(self) except -1:
        """The transport is gone: end the handler, and call `released` when it has ended."""
        return self.released()

    cdef int take_place(self) except -1:
        """Be one of the host's connections."""
        cdef list connections = self.host.connections
        self.place = <unsigned int>len(connections)
        connections.append(self)
        return 0

    cdef int leave_place(self) except -1:
        """Be none of them any more. May be repeated."""
        cdef list connections = self.host.connections
        cdef TeardownTransport last
        if self.place < len(connections) and connections[self.place] is self:
            self.host.messages_in += self.messages_in
            self.host.messages_out += self.messages_out
            last = connections.pop()
            if last is not self:
                last.place = self.place
                connections[self.place] = last
        return 0

    cdef int part(self) except -1:
        """The transport is gone: carry the end out, or what is left of it. What fails is tried again."""
        if self.teardown == TORN_DOWN:
            return 0
        try:
            if self.teardown == 0:
                if self.close_reason is None:
                    self.close_reason = reason_of(self.lost_error)
                self.lost_error = None
                self.owe(0)
                self.end_requests("")  # before the handler's end, which may wait for a reply
                self.teardown = HANDLER_ENDS
            if self.teardown == HANDLER_ENDS and self.begun:
                self.ended()
                if self.teardown == HANDLER_ENDS and not self.orphaned and self.host.gate is not None:
                    self.outlive()
                return 0
            return self.released()
        except BaseException as error:
            self.part_soon()
            if is_interrupt(error):
                raise
            self.host.blame(error)
        return 0

    cdef int outlive(self) except -1:
        """The transport is gone, and the handler is not: its place is another's."""
        # Most handlers wait for their peer, and have been woken: they end in the loop's next turn. Asked for first, since
        # what follows a failure is not tried again once the place is counted free.
        handle = self.host.loop.call_soon(self.host.keeper.join, self)
        try:
            self.host.gate.part(caller(&self.sockname, self.sockname_rest))
        except BaseException:
            handle.cancel()
            raise
        self.orphaned = True
        if self.host.gate.waits:
            self.host.gate.wake()
        return 0

    cdef void part_soon(self) noexcept:
        if self.poller.epoll < 0:
            return  # the loop was closed
        if not self.teardown_soon:
            self.teardown_soon = True
            Py_INCREF(self)  # the wheel's entry is all that may be left of it
        self.poller.wheel.set(self, self.poller.clock() + AGAIN_S)
        self.poller.prod()

    cdef int released(self) except -1:
        """Transport and handler are both gone: say so, and give the place up."""
        if self.teardown < TO_BE_TOLD:
            self.teardown = TO_BE_TOLD
        if self.teardown == TO_BE_TOLD:
            event = Closed(self, self.close_reason, self.bytes_in, self.bytes_out, self.time() - self._opened_at, self._detail())
            self.teardown = TO_LEAVE
            self.host.told(event)
        if self.teardown == TO_LEAVE:
            self.leave_handshake(ANY)
            if self.host.gate is not None:
                self.host.gate.leave(caller(&self.sockname, self.sockname_rest), orphan=bool(self.orphaned))
            self.teardown = TO_GIVE_UP_PLACE
            if self.orphaned:
                self.host.keeper.leave(self.id)
        self.part_with_input()
        self.leave_place()
        self.host.left()
        self.teardown = TORN_DOWN
        return 0

    cdef int expired(self) except -1:
        if self.teardown_soon:
            self.teardown_soon = False
            Py_DECREF(self)
        return SendingTransport.expired(self)


seal(globals())
