"""Input for a codec that has no compiled framing, a user's own above all: `core.inbound`, with the batch that was cut last."""

from .frames cimport NEED_DATA
from ..sealed cimport seal

from ....core.inbound import StreamInbound


cdef class CodecInput:
    """What a connection has received and no message of its codec has taken.

    Args:
        codec: What cuts it.
        skips_bad: As of `StreamInbound`.
    """

    def __init__(self, codec, *, skips_bad=False):
        self.own = codec
        self.inbound = StreamInbound(codec, skips_bad=skips_bad)
        self.batch = []
        self.may_settle = codec.quiet_s is not None and not skips_bad

    cdef int feed(self, bytes data) except -1:
        self.inbound.feed(data)
        return 0

    cdef object next_message(self, Py_ssize_t limit):
        """Return the next message, or NEED_DATA; cut up to ``limit`` at once.

        Raises:
            RemoteProtocolError: The next frame is bad.
        """
        cdef list batch, before
        if self.at >= len(self.batch):
            batch = self.inbound.take(limit)
            before = self.batch  # given up last: messages may run code of their own
            self.batch = batch
            self.at = 0
            if not batch:
                return NEED_DATA
        message = self.batch[self.at]
        self.at += 1
        return message

    cdef bint holds_message(self) except -1:
        """Whether a whole one is there; one that is bad is none."""
        cdef list batch, before
        if self.at < len(self.batch):
            return True
        batch = self.inbound.take_whole(1)
        before = self.batch  # given up last, as above
        self.batch = batch
        self.at = 0
        return len(batch) > 0

    cdef Py_ssize_t pending_bytes(self) except -1:
        return self.inbound.pending_bytes

    cdef bint unhandled(self) except -1:
        """Whether anything is left that may hold a message."""
        return self.at < len(self.batch) or self.inbound.pending_bytes > 0

    cdef int switch_to(self, object codec) except -1:
        """Cut the rest with another codec."""
        self.own = codec
        self.may_settle = codec.quiet_s is not None and not self.inbound._skips_bad
        return self.cut_by(codec, True)

    cdef int lend(self, object cutter) except -1:
        """Have the next message cut by another codec; `take_back` ends that."""
        if self.inbound.codec is not cutter:
            self.silence_counted = self.inbound.silence_counts
            self.cut_by(cutter, True)
        return 0

    cdef bint take_back(self) except -1:
        """Return whether another codec was lent the input until now."""
        if self.inbound.codec is self.own:
            return False
        self.cut_by(self.own, self.silence_counted)
        return True

    cdef int cut_by(self, object codec, bint silence_counts) except -1:
        cdef list before
        self.inbound.switch(codec, self.at, len(self.batch) - self.at, silence_counts=silence_counts)
        before = self.batch  # given up last, as above
        self.batch = []
        self.at = 0
        return 0


seal(globals())
