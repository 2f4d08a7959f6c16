"""A connection's output: what is gathered, what waits, how much that may be, and how long its peer may take."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport INFINITY

from .frames cimport put_framed
from .framing cimport Framing
from .states cimport HAPPENED_SEND_EOF

from ...codecs.guard import encode
from ...core.events import MessageDropped, ReadingPaused, ReadingResumed
from ...core.contract import refuse_frame
from ...core.send_queue import SendQueue
from ...errors import SlowPeerError
from ...reasons import CloseReason

# Replies of this size and more are sent from where they are, not copied together with others.
cdef Py_ssize_t WORTH_A_SEND = 16 * 1024

cdef object OVERLOAD = CloseReason.OVERLOAD
cdef object SLOW_CONSUMER = CloseReason.SLOW_CONSUMER


cdef class SendingTransport(StatefulTransport):
    """Messages are framed behind what is queued, gathered while a batch is handled, and held to the limits."""

    # -- what a subclass does ------------------------------------------------------------------------------------------

    cdef int output_resumed(self) except -1:
        return 0

    cdef int flushed(self) except -1:
        """All that was queued before the close was sent."""
        return 0

    cdef int lose(self, object reason) except -1:
        """End now."""
        return 0

    # -- what is queued ------------------------------------------------------------------------------------------------

    def post(self, message):
        """Queue one message; never wait."""
        if not self.can_send() or self.leave_reason is not None:
            raise self.why_not()
        if self.sending and self.levels.limits.slow_consumer != "disconnect":
            self.post_behind(encode(self.codec, message))
            self.messages_out += 1
        else:
            self.put_reply(message)

    def frame(self, message):
        """Return what `post` would queue for a message."""
        return encode(self.codec, message)

    def post_frame(self, frame):
        """Queue one message that is framed already."""
        refuse_frame(frame)
        if not self.can_send() or self.leave_reason is not None:
            raise self.why_not()
        if self.sending and self.levels.limits.slow_consumer != "disconnect":
            self.post_behind(frame)
        else:
            self.put_whole(frame)
        self.messages_out += 1

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
    def queued_bytes(self):
        """Bytes that were taken to be sent and that the kernel has not taken yet."""
        return self.all_owed()

    @property
    def raises_when_full(self):
        """Whether `post` says to its caller that there is no room."""
        return self.levels.limits.slow_consumer == "raise"

    def refusal(self):
        """Return what `post` would raise whatever the message, or None."""
        return None if self.can_send() and self.leave_reason is None else self.why_not()

    cdef int put_reply(self, object message) except -1:
        return self.put_message(message)

    cdef int put_whole(self, bytes frame) except -1:
        """Put a frame after what is queued; send, unless a batch is being gathered."""
        return self.put(frame)

    cdef int put_message(self, object message) except -1:
        """Frame a message and put it after what is queued; send, unless a batch is being gathered."""
        cdef Framing framing = self.framing
        if (
            framing is None
            or self.write_paused
            or not self.attached
            or (type(message) is bytes and PyBytes_GET_SIZE(message) >= WORTH_A_SEND)
        ):
            self.put(encode(self.codec, message))
            self.messages_out += 1
            return 0
        if not framing.put(self, message):
            self.put(encode(self.codec, message))
            self.messages_out += 1
            return 0
        self.messages_out += 1
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
        return self.host.budget.most_bytes(self.levels.limits.write_max_bytes)

    cdef int post_behind(self, bytes data) except -1:
        """Queue a posted frame for a peer that is owed something."""
        cdef Py_ssize_t high = self.high()
        if not self.write_paused and self.queued() + PyBytes_GET_SIZE(data) > high < self.levels.high:
            self.uncork()
            if not self.write_paused and self.sending:
                self.stop_writing()
        return self.post_late(data) if self.write_paused else self.put(data)

    cdef int post_late(self, bytes data) except -1:
        """Queue a posted frame behind a full transport, or have something give way, as the policy has it."""
        if self.backlog is None:
            self.backlog = SendQueue()
        excess = self.all_owed() + PyBytes_GET_SIZE(data) - self.most_owed()
        dropped = self.backlog.admit(data, self.levels.limits.slow_consumer, excess)
        self.owe(self.all_owed())
        if dropped is not None:
            self.host.told(MessageDropped(self, self.levels.limits.slow_consumer, *dropped))
        return 0

    cdef int refill(self, Py_ssize_t high) except -1:
        """Hand the transport what waits behind it, until it owes more than ``high`` bytes."""
        cdef bytes data
        while self.backlog and not self.lost:
            self.uncork()
            if self.owed() > high or not self.backlog:  # it may have ended meanwhile
                break
            data = self.backlog.take(high - self.owed() + 1)
            self.sent(PyBytes_GET_SIZE(data))
            self.transmit_object(data)
        return self.sank()

    cdef int owe(self, Py_ssize_t size) except -1:
        if size != self.owed_bytes:
            self.host.budget.owe(self, size)
            self.owed_bytes = size
        return 0

    def send_eof(self):
        """End our direction after what was queued; go on receiving."""
        if self.can_send():
            self.happen(HAPPENED_SEND_EOF)
            self.uncork()
            self.refill(self.all_owed())
            self.end_output()

    # -- the high watermark --------------------------------------------------------------------------------------------

    cdef Py_ssize_t high(self) except -1:
        """Return above how much output is paused: there is less of it where little is left for all."""
        return self.host.budget.most_bytes(self.levels.high)

    cdef Py_ssize_t low(self) except -1:
        cdef Py_ssize_t high = self.high()
        return self.levels.low if high == self.levels.high else min(self.levels.low, high // 4)

    cdef int watch_high(self) except -1:
        self.sank()
        for debtor in self.host.budget.to_be_ended(self):
            debtor.cut(OVERLOAD)
        if not self.write_paused and self.owed() > self.high():
            self.stop_writing()
        return 0

    cdef int sank(self) except -1:
        # What is gathered now leaves, or is counted, at the end of this turn.
        return self.owe(self.owed() + (0 if self.backlog is None else len(self.backlog)))

    cdef int stop_writing(self) except -1:
        self.write_paused = True
        return self.pause_writing()

    cdef int pause_writing(self) except -1:
        if not self.leaving():
            self.host.told(ReadingPaused(self))
            self.stall_began()
            self.pause_reading()
        return 0

    cdef int resume_writing(self) except -1:
        cdef Py_ssize_t high
        if self.backlog:
            self.write_paused = True  # until what waits behind the transport was handed to it
            high = self.high()
            self.refill(high)
            if self.owed() > high:
                return self.stall_began()
            self.write_paused = False
        self.clocks.stalled = INFINITY
        if self.leaving():
            return self.flushed()
        self.host.told(ReadingResumed(self))
        return self.output_resumed()

    cdef int stall_began(self) except -1:
        self.clocks.stalled = self.time()
        self.stalled_bytes = self.bytes_out - self.owed()
        if self.patience.write_s != INFINITY:
            self.arm(self.clocks.stalled + self.patience.write_s)
        return 0

    cdef bint has_progressed(self) noexcept:
        """Whether the peer read as much as has to be read for reading it to go on, though not all that was owed."""
        return self.bytes_out - self.owed() - self.stalled_bytes >= self.levels.step
