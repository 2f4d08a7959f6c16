"""A client's conversation: the engine's own, with what only a client asks of it, as `engines.loop.client` has it."""

import select

from .conversation cimport ConversationConnection
from .exchange cimport Receive, receive_from
from ..host cimport Host
from ..connection.sockname cimport AF_INET, AF_UNIX
from ..sealed cimport seal
from .waiter cimport Waiter

from ....core.compiled_law.closing cimport _CLOSED as CLOSED, _OPEN as OPEN
from ....core.compiled_law.output cimport _PAUSE as PAUSE

from ....core.timeouts import Timeout
from ....errors import BrokenError, Phase
from ....reasons import CloseReason

cdef object LIFETIME = CloseReason.LIFETIME


cdef class ClientConversation(ConversationConnection):
    """A connection that was made by `connect`. It has no handler and no task of its own.

    Args:
        host: Where it belongs.
        plan: What the client said.
        fd: A connected, non-blocking socket's. It is the connection's from now on.
    """

    cdef public object on_change  # called when it may be written to again, the peer sent EOF, or it is gone
    cdef object read_s
    cdef object total
    cdef object lost_by
    cdef Py_ssize_t unread_bytes  # as of `BrokenError`

    def __init__(self, Host host, plan, int fd):
        self.fd = fd  # and is closed with it, whatever comes
        self.settle_in(host, plan.local, None)
        self.layer = plan.layer
        self.sockname.family = AF_UNIX if plan.local.is_unix else AF_INET
        self.sockname_rest = plan.peer
        self.read_s = plan.read_s
        self.total = plan.total
        self.take_up()

    cdef int start(self) except -1:
        return 0

    # -- waiting no longer than the user does --------------------------------------------------------------------------

    cdef object wait_s(self, object timeout_s):
        return self.read_s if timeout_s is None else timeout_s

    def receive(self, timeout_s=None):
        """Return the next message, once awaited."""
        return receive_from(self, self.wait_s(timeout_s), False)

    def __anext__(self):
        return receive_from(self, self.read_s, True)

    def request(self, message, timeout_s=None):
        """Send one message; return the next one that comes, once awaited."""
        cdef Request step
        if self._write_paused or self.poller.left <= 0:
            return self.exchange(message, timeout_s)
        step = Request.__new__(Request)
        step.conn = self
        step.limit = self.wait_s(timeout_s)
        step.message = message
        step.unsent = True
        return step

    cdef int timed_out(self, object which) except -1:
        if which is not Timeout.LIFETIME:
            return ConversationConnection.timed_out(self, which)
        self.lose(LIFETIME)  # nobody waits for a flush either
        return 1

    cdef object why_not(self):
        if self.close_reason is LIFETIME and self.total is not None:
            return self.total.error(Phase.TOTAL)
        if self.lost and self.close_reason is None:
            self.lost_by = self.lost_error
            self.note_unread()
        error = ConversationConnection.why_not(self)
        error.__cause__ = self.lost_by
        if isinstance(error, BrokenError):
            error.unread_bytes = self.unread_bytes
        return error

    # -- reading on ----------------------------------------------------------------------------------------------------

    cdef int obey(self, int verdict) except -1:
        """Where output is paused, count the peer's time to read, and read on: law 7."""
        if verdict == PAUSE:
            return self.arm(self._stalled_since + self._durations.write_s)
        return ConversationConnection.obey(self, verdict)

    cdef Waiter begin_wait(self, object limit, bint held):
        cdef Waiter waiter = ConversationConnection.begin_wait(self, limit, held)
        if self._write_paused and not self.reading:
            self.read_again()
        return waiter

    cdef int note_unread(self) except -1:
        """The connection is about to end: had its peer waited for us to receive?"""
        if self._write_paused and not self.reading and not self.unread_bytes:
            self.unread_bytes = self.pending_bytes()
        return 0

    cdef int lose(self, object reason) except -1:
        self.note_unread()
        return ConversationConnection.lose(self, reason)

    cdef int connection_lost(self, object error) except -1:
        if self.close_reason is None:
            self.lost_by = error
        self.note_unread()
        ConversationConnection.connection_lost(self, error)
        return self.changed()

    # -- for those who keep connections --------------------------------------------------------------------------------

    @property
    def is_open(self):
        """Whether messages may go both ways, as far as was heard."""
        return self._state == OPEN and not self.lost

    @property
    def is_gone(self):
        """Whether its socket is closed."""
        return bool(self._gone)

    @property
    def can_write(self):
        """Whether `put_frames` would not go over the high watermark further than it is."""
        return self._can_send and not self._write_paused

    @property
    def is_unused(self):
        """Whether it is open and nothing at all came that nobody asked for; asks the kernel, too."""
        if self._state != OPEN or self.unhandled():
            return False
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return not poll.poll(0)

    def close_unused(self):
        """Close at once, with EOF and not with a reset. It must be owed nothing, and have sent all it was given."""
        if self._state != CLOSED:
            self._lost(CloseReason.DONE)
            self.disarm()
            self.shut()

    def put_frames(self, frames):
        """Hand messages that were encoded to the transport, in one write. It must be open."""
        self.put(frames[0] if len(frames) == 1 else b"".join(frames))

    cdef int output_resumed(self) except -1:
        ConversationConnection.output_resumed(self)
        return self.changed()

    cdef int input_ended(self) except -1:
        ConversationConnection.input_ended(self)
        return self.changed()

    cdef int changed(self) except -1:
        if self.on_change is not None:
            self.on_change()
        return 0


cdef class Request(Receive):
    """One message out, then the next one in."""

    cdef object message
    cdef bint unsent

    cdef object step(self):
        if self.unsent:
            self.unsent = False
            self.conn.poller.left -= 1
            if not self.conn._can_send or self.conn._close_after is not None:
                raise self.conn.why_not()
            self.conn.put_reply(self.message)
            self.message = None
        return Receive.step(self)


seal(globals())
