"""A connection's output: what is gathered, what waits, how much that may be, and how long its peer may take."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from libc.math cimport INFINITY

from ..framing.frames cimport put_framed
from ..framing.choice cimport Framing
from ..framing.uncompiled cimport CodecInput
from ..sealed cimport seal
from ..unparsed cimport Unparsed, parse

from ....core.compiled_law.closing cimport _CLOSED as CLOSED
from ....core.compiled_law.output cimport _ALL_SENT as ALL_SENT, _PAUSE as PAUSE, _REFILL as REFILL, _RESUME as RESUME

cdef extern from *:
    """
    /* Have the processor fetch an object that is needed soon: of many members each lies somewhere else, and between two of
     * them the kernel has had the caches. */
    static inline void penstock_fetch(const void *object, Py_ssize_t size)
    {
        for (Py_ssize_t at = 0; at < size; at += 64)
            __builtin_prefetch((const char *)object + at, 1);
    }
    """
    void penstock_fetch(const void* object, Py_ssize_t size) noexcept
    PyObject* PyTuple_GET_ITEM(tuple, Py_ssize_t)

from ....codecs.guard import encode
from ....core.contract import refuse_frame
from ....core.events import MessageDropped, ReadingPaused, ReadingResumed
from ....core.send_queue import check_policy
from ....errors import SlowPeerError
from ....reasons import CloseReason

cdef enum:
    AHEAD = 2  # members whose connections are fetched before it is their turn
    FETCHED_BYTES = 384  # of each: all that sending looks at

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

    def post(self, message, *, on_full=None, key=None):
        """Queue one message; never wait."""
        return post(self, message) if on_full is None else self.post_by_policy(message, False, on_full, key)

    def frame(self, message):
        """Return what `post` would queue for a message."""
        return encode(self.codec, message)

    def post_frame(self, frame, *, on_full=None, key=None):
        """Queue one message that is framed already."""
        if on_full is None:
            return post_frame(self, frame)
        refuse_frame(frame)
        return self.post_by_policy(frame, True, on_full, key)

    cdef object post_by_policy(self, object message, bint framed, object on_full, object key):
        """Do either where the call says what gives way."""
        cdef bytes frame
        policy = check_policy("on_full", on_full, key)
        if not self._can_send or self._close_after is not None:
            raise self.why_not()
        frame = message if framed else encode(self.codec, message)
        if self.sending and policy != "disconnect":
            self.post_behind(frame, policy, key)
        else:
            self.put_whole(frame)
        self.messages_out += 1

    @staticmethod
    def post_frame_to_each(publication, Py_ssize_t stop, bytes frame, object codec, object stats, bint untroubled):
        """Do `post_frame` for the next members of a publication to a group, in compiled code, as long as each is like the one before.

        The first one that is not is left to the caller: another codec or engine, a layer, output that waits or is being
        gathered, one that leaves.

        Args:
            publication: Its ``members`` from ``at`` on, and their ``conns``; of them ``exclude`` is passed over. ``at`` is moved.
            stop: Where to stop.
            frame: The frame.
            codec: Whose it is.
            stats: What counts those ``delivered``.
            untroubled: No member has left, and for none anything waits. That is true as long as nothing runs in between but the
                sending itself, so it ends with the first that the kernel does not take whole.
        """
        cdef tuple members = publication.members
        cdef tuple conns = publication.conns
        cdef frozenset exclude = publication.exclude
        cdef bint excludes = len(exclude) > 0
        cdef Py_ssize_t at = publication.at
        cdef Py_ssize_t delivered = 0, size = PyBytes_GET_SIZE(frame)
        cdef SendingTransport conn
        cdef PyTypeObject* kind = NULL  # of the connection before, which is a `SendingTransport`
        cdef PyObject* each
        stop = min(stop, len(conns))  # no None, and nothing past the end: whatever is called with
        if at < 0 or len(members) < stop:
            raise IndexError("no such member of a publication")
        try:
            for ahead in range(at, min(at + AHEAD, stop)):
                penstock_fetch(<void*>PyTuple_GET_ITEM(conns, ahead), FETCHED_BYTES)
            while at < stop:
                if at + AHEAD < stop:
                    penstock_fetch(<void*>PyTuple_GET_ITEM(conns, at + AHEAD), FETCHED_BYTES)
                each = PyTuple_GET_ITEM(conns, at)
                if each.ob_type != kind:
                    if not isinstance(<object>each, SendingTransport):
                        break
                    kind = each.ob_type
                conn = <SendingTransport>each
                if not untroubled:
                    member = members[at]
                    if not member.active or member.waiting or member.kept is not None:
                        break
                if excludes and conn.id in exclude:
                    at += 1
                    continue
                if not conn.takes_at_once(codec):
                    break
                at += 1  # what an interrupt comes out of is not met again
                conn.messages_out += 1
                conn.sent(size)
                conn.transmit_object(frame)
                delivered += 1
                if untroubled and (conn.lost or conn.out != NULL):
                    break
        finally:
            publication.at = at
            stats.delivered += delivered

    cdef bint takes_at_once(self, object codec) except -1:
        """Whether a frame of this codec can be given to the kernel here and now, with nothing before it."""
        cdef CodecInput uncompiled
        if (
            not self._can_send or self._close_after is not None or not self._attached or self.layer is not None
            or self._write_paused or self.corking or self.out != NULL or self.unhandled()
        ):
            return False
        if self.framing is not None:
            return self.framing.codec is codec
        uncompiled = self.uncompiled
        return uncompiled.own is codec

    def post_joined(self, frames, int count):
        """Queue several messages whose frames are one string of bytes already."""
        post_frame(self, frames)
        self.messages_out += count - 1

    def try_send(self, message):
        """Queue one message if output is not over its high watermark."""
        if not self._can_send or self._close_after is not None:
            raise self.why_not()
        if self.corked() and self.owed():
            self.uncork()  # what was gathered counts, and goes behind what waits
        if self._write_paused or self.corked() > self._levels.high:
            return False
        self.put_reply(message)
        return True

    @property
    def queued_bytes(self):
        """Bytes that were taken to be sent and that the kernel has not taken yet."""
        return self.all_owed()

    @property
    def output_paused(self):
        """Whether output is over its high watermark, and has not sunk to the low one since."""
        return bool(self._write_paused)

    @property
    def slow_consumer(self):
        """What `post` does when the peer would be owed too much."""
        return self._levels.limits.slow_consumer

    @property
    def raises_when_full(self):
        """Whether `post` says to its caller that there is no room."""
        return self._levels.limits.slow_consumer == "raise"

    def refusal(self):
        """Return what `post` would raise whatever the message, or None."""
        return None if self._can_send and self._close_after is None else self.why_not()

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
            or self._write_paused
            or not self._attached
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
        if not self.corking or self.corked() > self._levels.high:
            self.uncork()
        return 0

    cdef int put(self, bytes data) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if self._write_paused:
            self.charge(size)
            queue = self._queue_if_any()
            if queue:
                queue.keep(data)
                return 0
        if size >= WORTH_A_SEND and self._attached and not self.sending:
            self.uncork()
            self.sent(size)
            return self.transmit_object(data)
        put_framed(self, b"", 0, data, b"", 0)
        if not self.corking or self.corked() > self._levels.high:
            self.uncork()
        return 0

    cdef int sent(self, Py_ssize_t size) except -1:
        """Take note that bytes are handed to the transport."""
        self.bytes_out += size
        # A reply moves the clock of a peer that has sent EOF: its messages may queue up behind the one at work.
        if self._idle_since != INFINITY and (
            not self._can_receive or not (self._handling or self._durations.only_received_counts)
        ):
            self._idle_since = self.time()
        return 0

    cdef int uncork(self) except -1:
        """Send what was gathered."""
        cdef Py_ssize_t corked = self.corked()
        if corked and self._attached:
            self.sent(corked)
            if self.layer is not None:
                return self.transmit_corked()
            self.out.corked = 0
            self.transmit()
        return 0

    cdef int charge(self, Py_ssize_t size) except -1:
        """Hold what a peer that does not read is owed to the hard limit."""
        cdef Py_ssize_t room = self.room_bytes()
        self.owe(self.all_owed() + size)
        if self._is_too_much(self._owed_bytes(), room):
            self.lose(SLOW_CONSUMER)
            raise SlowPeerError(SLOW_CONSUMER)
        return 0

    cdef Py_ssize_t all_owed(self) except -1:
        """Return how many bytes wait: for the kernel, to be sent together, and behind both."""
        return self.queued() + self.behind()

    cdef Py_ssize_t behind(self) except -1:
        """Return how many bytes wait behind the transport."""
        queue = self._queue_if_any()
        return 0 if queue is None else len(queue)

    cdef Py_ssize_t room_bytes(self) except -1:
        """Return what a peer may be owed for all that the others are."""
        return self.host.budget.room_bytes()

    cdef int post_behind(self, bytes data, object policy, object key) except -1:
        """Queue a posted frame for a peer that is owed something."""
        if self._crowds(PyBytes_GET_SIZE(data), self.queued(), self.room_bytes()):
            self.uncork()
            if self.sending:
                self.obey(self._pauses(self.owed(), self.time()))
        return self.post_late(data, policy, key) if self._write_paused else self.put(data)

    cdef int post_late(self, bytes data, object policy, object key) except -1:
        """Queue a posted frame behind a full transport, or have something give way, as the policy has it."""
        excess = self._excess_bytes(self.all_owed() + PyBytes_GET_SIZE(data), self.room_bytes())
        dropped = self._queue().admit(data, policy, excess, key)
        self.owe(self.all_owed())
        if dropped is not None:
            self.host.told(MessageDropped(self, policy, *dropped))
        return 0

    cdef int refill(self, Py_ssize_t high) except -1:
        """Hand the transport what waits behind it, until it owes more than ``high`` bytes."""
        cdef bytes data
        queue = self._queue_if_any()
        while queue and not self.lost:
            self.uncork()
            if self.owed() > high or self._queue_if_any() is not queue:  # it may have ended meanwhile
                break
            data = queue.take(high - self.owed() + 1)
            self.sent(PyBytes_GET_SIZE(data))
            self.transmit_object(data)
        return self.count_owed()

    cdef int owe(self, Py_ssize_t size) except -1:
        if size != self._owed_bytes():
            self.host.budget.owe(self, size)
            self._owes(size)
        return 0

    def send_eof(self):
        """End our direction after what was queued; go on receiving."""
        if self._sends_eof():
            self.uncork()
            self.refill(self.all_owed())
            if self._attached:
                self.end_output()

    # -- what the law says ---------------------------------------------------------------------------------------------

    cdef int count_owed(self) except -1:
        # What is gathered now leaves, or is counted, at the end of this turn.
        return self.owe(self.owed() + self.behind())

    cdef int output_queued(self) except -1:
        self.count_owed()
        for debtor in self.host.budget.to_be_ended(self):
            debtor.cut(OVERLOAD)
        return self.obey(self._queued(self.owed(), self.room_bytes(), self.time()))

    cdef int output_sank(self) except -1:
        cdef Py_ssize_t room
        cdef double now
        cdef int verdict
        if self._state == CLOSED:
            return 0
        room = self.room_bytes()
        now = self.time()
        verdict = self._sank(self.owed(), self._low(room), now)
        if verdict == REFILL:
            self.refill(self._high(room))
            if self.lost:
                return 0
            verdict = self._refilled(self.owed(), room, now)
            if not verdict:
                self.arm(now + self._durations.write_s)
        self.count_owed()
        return self.obey(verdict)

    cdef int obey(self, int verdict) except -1:
        if verdict == PAUSE:
            self.arm(self._stalled_since + self._durations.write_s)
            self.host.told(ReadingPaused(self))
            self.pause_reading()
        elif verdict == RESUME:
            self.host.told(ReadingResumed(self))
            self.output_resumed()
        elif verdict == ALL_SENT:
            self.flushed()
        return 0

    cdef int stall_begins(self) except -1:
        return self.arm(self._stalls(self.owed(), self.time()))


# -- a message that says nothing of a full connection, which is nearly every one ----------------------------------------


cdef inline object post(SendingTransport conn, object message):
    if not conn._can_send or conn._close_after is not None:
        raise conn.why_not()
    if conn.sending and conn._levels.can_drop:
        conn.post_behind(encode(conn.codec, message), conn._levels.limits.slow_consumer, None)
        conn.messages_out += 1
    else:
        conn.put_reply(message)


cdef object post_one(SendingTransport conn, object message):
    """As ``conn.post(message)``, for compiled code."""
    return post(conn, message)


cdef inline object post_frame(SendingTransport conn, object frame):
    if not PyBytes_Check(frame):
        refuse_frame(frame)
    if not conn._can_send or conn._close_after is not None:
        raise conn.why_not()
    if conn.sending and conn._levels.can_drop:
        conn.post_behind(frame, conn._levels.limits.slow_consumer, None)
    else:
        conn.put_whole(frame)
    conn.messages_out += 1


cdef object post_or_parse(SendingTransport self, PyObject** arguments, Py_ssize_t count, PyObject* names):
    if count == 1 and names == NULL:
        return post(self, <object>arguments[0])
    return parse(POST.parsed, self, arguments, count, names)


cdef object post_frame_or_parse(SendingTransport self, PyObject** arguments, Py_ssize_t count, PyObject* names):
    if count == 1 and names == NULL:
        return post_frame(self, <object>arguments[0])
    return parse(POST_FRAME.parsed, self, arguments, count, names)


cdef Unparsed POST = Unparsed(SendingTransport, "post").of(<void*>post_or_parse)
cdef Unparsed POST_FRAME = Unparsed(SendingTransport, "post_frame").of(<void*>post_frame_or_parse)


seal(globals())
