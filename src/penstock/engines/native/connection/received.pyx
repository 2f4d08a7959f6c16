"""What a connection has received and no message has taken, and what cuts it into messages."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from ..census cimport PENSTOCK_DEBUG, living
from ..framing.choice cimport NEED_DATA, clear, feed, framing_of, keep
from ..framing.frames cimport take
from ..sealed cimport seal

from ....codecs.base import Buffer
from ....codecs.guard import finish
from ....core.foreign import FIRST_BYTES as _FIRST_BYTES
from ....core.events import FramesSkipped
from ....core.requests import end_superseded, refuse_owed, refuse_silence, requests_of


cdef Py_ssize_t FIRST_BYTES = _FIRST_BYTES

cdef enum:
    # What waits for a codec itself is left to it while it is more: a protocol may go to and fro between one of its own and a built-in
    # one for each message, and all that waits behind it would be moved each time.
    MOST_MOVED = 1024

cdef class ReceivingTransport(DeadlinedTransport):
    """A transport with a codec: compiled framing where there is one, else the codec itself."""

    def __dealloc__(self):
        # The host may be gone; while it is not, nothing of its own is in use here: a batch of events holds its connection.
        if self.input != NULL:
            clear(self.input)
            free(self.input)
            if PENSTOCK_DEBUG:
                living.blocks -= 1

    @property
    def codec(self):
        """What cuts its stream into messages."""
        cdef Framing framing = self.framing
        cdef CodecInput uncompiled = self.uncompiled
        return uncompiled.own if framing is None else framing.codec

    cdef int take_in(self, const char* data, Py_ssize_t size) except -1:
        """Add bytes that were just read. Where nothing is waiting they stay where they are, until `keep_rest`."""
        cdef CodecInput uncompiled
        if self.framing is None:
            uncompiled = self.uncompiled
            return uncompiled.feed(PyBytes_FromStringAndSize(data, size))
        if self.input == NULL:
            if self.host.input.at != self.host.input.end:  # another's, which is being handled: a layer gave this meanwhile
                self.own_input()
            else:
                self.input = &self.host.input
        return feed(self.input, data, size)

    cdef int keep_rest(self) except -1:
        """The shared buffer is about to be written again: take out of it what no message has taken, or give up."""
        if self.input != NULL:
            try:
                if self.input.at != self.input.end:
                    keep(self.input)
                    self.own_input()
                else:
                    self.disown_input()
            except BaseException:
                self.disown_input()
                raise
        return 0

    cdef int own_input(self) except -1:
        """Have a place of its own for what is not handled yet."""
        cdef Input* own
        if self.input == NULL or self.input == &self.host.input:
            own = <Input*>calloc(1, sizeof(Input))
            if own == NULL:
                raise MemoryError
            if PENSTOCK_DEBUG:
                living.blocks += 1
            if self.input != NULL:
                own[0] = self.host.input
                memset(&self.host.input, 0, sizeof(Input))
            self.input = own
        return 0

    cdef void drop_input(self) noexcept:
        """Forget what no message has taken, as far as compiled framing has it.

        A place of its own is given up later, by `keep_rest`: whoever cuts a message from it may be what led here.
        """
        if self.input != NULL:
            clear(self.input)
            if self.input == &self.host.input:
                self.input = NULL

    cdef void disown_input(self) noexcept:
        if self.input != NULL:
            self.drop_input()
            if self.input != NULL:
                free(self.input)
                self.input = NULL
                if PENSTOCK_DEBUG:
                    living.blocks -= 1

    cdef int part_with_input(self) except -1:
        """Nothing more is cut: let go of what no message has taken, and of what counts the frames that are passed over."""
        cdef CodecInput uncompiled = self.uncompiled
        self.end_requests("")
        self.disown_input()
        if uncompiled is not None:
            inbound = uncompiled.inbound
            inbound.on_skipped = None
        return 0

    cdef int forget_input(self) except -1:
        cdef CodecInput uncompiled
        self.end_requests("")
        self.drop_input()
        if self.framing is None:
            uncompiled = self.uncompiled
            self.uncompiled = CodecInput(uncompiled.own, skips_bad=self.host.skips_bad)
        return 0

    cdef Py_ssize_t pending_bytes(self) except -1:
        cdef CodecInput uncompiled
        if self.framing is None:
            uncompiled = self.uncompiled
            return uncompiled.pending_bytes()
        return 0 if self.input == NULL else self.input.end - self.input.at

    cdef Py_ssize_t waiting_bytes(self) except -1:
        """Return how much of what is pending waits to be received: not the start of a frame that may be a reply."""
        cdef CodecInput uncompiled
        if self.framing is None:
            uncompiled = self.uncompiled
            inbound = uncompiled.inbound
            return inbound.waiting_bytes
        return self.pending_bytes()

    cdef Py_ssize_t partial_bytes(self) except -2:
        """Return how many bytes of a message that is not whole are there, behind all that are; -1 where no replies are owed."""
        cdef CodecInput uncompiled
        if self.framing is not None:
            return -1
        uncompiled = self.uncompiled
        partial = uncompiled.inbound.partial_bytes
        return -1 if partial is None else partial

    cdef bytes first_bytes(self):
        """Return how what no message has taken begins."""
        cdef CodecInput uncompiled
        if self.framing is None:
            uncompiled = self.uncompiled
            inbound = uncompiled.inbound
            return inbound.first_bytes
        return b"" if self.input == NULL else self.input.at[:min(self.input.end - self.input.at, FIRST_BYTES)]

    cdef bint unhandled(self) except -1:
        """Whether anything is left that may hold a message."""
        cdef CodecInput uncompiled
        if self.framing is None:
            uncompiled = self.uncompiled
            return uncompiled.unhandled()
        return self.input != NULL and self.input.at != self.input.end

    cdef object next_message(self, Py_ssize_t limit):
        """Return the next message, or NEED_DATA; a codec that is not compiled may cut up to ``limit`` at once.

        Raises:
            RemoteProtocolError: The next frame is bad.
        """
        cdef Framing framing = self.framing
        cdef CodecInput uncompiled
        if framing is None:
            uncompiled = self.uncompiled
            if uncompiled.compiled is not None:
                self.compiles()
            elif uncompiled.may_settle:
                self.settles()
            framing = self.framing
            if framing is None:
                return uncompiled.next_message(limit)
        return NEED_DATA if self.input == NULL else framing.cut(self.input)

    cdef object next_by(self, Framing by):
        """Return the next message as another framing cuts it, or NEED_DATA; until `take_back` nothing else cuts.

        Raises:
            RemoteProtocolError: The next frame is bad.
        """
        cdef CodecInput uncompiled
        if self.framing is None:
            uncompiled = self.uncompiled
            uncompiled.lend(by.codec)
            return uncompiled.next_message(1)
        return NEED_DATA if self.input == NULL else by.cut(self.input)

    cdef object next_bytes(self, Py_ssize_t size):
        """Return the next ``size`` bytes, or NEED_DATA, where compiled framing cuts."""
        if self.input == NULL or self.input.end - self.input.at < size:
            return NEED_DATA
        message = PyBytes_FromStringAndSize(self.input.at, size)
        take(self.input, size)
        return message

    cdef int take_back(self) except -1:
        """Have what follows cut by the connection's own framing, which has not looked at it."""
        cdef CodecInput uncompiled
        if self.framing is None:
            uncompiled = self.uncompiled
            return self.watch_rest() if uncompiled.take_back() and not self.lost else 0
        if self.input != NULL:
            take(self.input, 0)
        return 0

    cdef bint settles(self) except -1:
        """Let compiled framing cut from now on, if the peer ends its messages itself by now. Say whether it does."""
        cdef CodecInput uncompiled = self.uncompiled
        cdef Framing framing
        inbound = uncompiled.inbound
        if uncompiled.at < len(uncompiled.batch) or inbound.silence_counts:
            return False
        framing = framing_of(uncompiled.own, True)
        if framing is not None:
            self.compile(framing)
        uncompiled.may_settle = False
        return framing is not None

    cdef bint compiles(self) except -1:
        """Let the compiled framing of its codec cut from now on, if little waits. Say whether it does."""
        cdef CodecInput uncompiled = self.uncompiled
        if uncompiled.at < len(uncompiled.batch) or uncompiled.pending_bytes() > MOST_MOVED or self.takes_replies():
            return False
        self.compile(uncompiled.compiled)
        return True

    cdef int compile(self, Framing framing) except -1:
        """Hand what waits for a codec itself to its compiled framing."""
        cdef CodecInput uncompiled = self.uncompiled
        uncompiled.cut_by(uncompiled.own, False)
        self.hold_rest(uncompiled.inbound.rest())
        self.framing = framing
        self.uncompiled = None
        return self._listens_for(None)

    cdef int hold_rest(self, bytes rest) except -1:
        """What no message has taken, and was not in the hands of compiled framing, is from now on."""
        if rest:
            self.own_input()
            feed(self.input, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
            try:
                keep(self.input)
            except BaseException:
                clear(self.input)  # it leads into `rest`
                raise
        return 0

    cdef bint holds_message(self) except -1:
        """Whether a whole message is there. Of a connection whose transport is gone: the codec itself cuts what is left."""
        cdef CodecInput uncompiled
        cdef bytes rest = b""
        if self.framing is not None:
            if self.input == NULL or self.input.at == self.input.end:
                return False
            rest = self.input.at[:self.input.end - self.input.at]
            uncompiled = CodecInput(self.framing.codec)
            uncompiled.cut_by(self.framing.codec, False)  # silence ends nothing by now, where it has
            uncompiled.feed(rest)
            self.uncompiled = uncompiled
            self.framing = None
            self.drop_input()
        uncompiled = self.uncompiled
        return uncompiled.holds_message()

    cdef object finish_rest(self, object codec):
        """Return what a codec, None for the connection's own, makes of the rest at EOF: the last message, or NEED_DATA.

        Raises:
            RemoteProtocolError, CodecError: The stream ended in the middle of a frame; the codec failed at it.
        """
        cdef bytes rest = b""
        cdef Framing framing = self.framing
        cdef CodecInput uncompiled
        if framing is None:
            uncompiled = self.uncompiled
            inbound = uncompiled.inbound
            return inbound.finish()
        if self.input != NULL:
            rest = self.input.at[:self.input.end - self.input.at]
        buffer = Buffer(rest)
        buffer.silence_counts = False  # or the codec would still cut
        return finish(framing.codec if codec is None else codec, buffer)

    cdef int watch_input(self) except -1:
        """Have the frames counted that the codec passes over, and silence as it wants it. One that does so is not compiled."""
        cdef CodecInput uncompiled = self.uncompiled
        if uncompiled is None:  # the codec that was asked has given the connection one that is compiled
            return 0
        inbound = uncompiled.inbound
        if inbound.codec.on_oversize == "skip":
            inbound.on_skipped = self._frames_skipped
        self._listens_for(inbound.quiet_s)
        return 0

    cdef int watch_rest(self) except -1:
        """Another codec cuts from here on."""
        self.watch_input()
        return self.hear() if self.pending_bytes() else 0

    cdef int hear(self) except -1:
        """Bytes came: the silence after them begins, whether or not somebody waits."""
        return self.arm(self._hears(self.time(), self.pending_bytes()))

    cdef bint ends_by_silence(self) except -1:
        """Nothing has come for long enough: end the message at hand, if that is true of all that counts. Say whether it is."""
        cdef CodecInput uncompiled = self.uncompiled
        inbound = None if uncompiled is None else uncompiled.inbound
        if inbound is None or inbound.quiet_s is None:
            self._listens_for(None)  # the peer ends its messages itself by now
        elif not self.reading:
            self._stops_listening(self.time())
        else:
            self._falls_silent()
            inbound.note_silence()
            return True
        return False

    def _frames_skipped(self, count):
        self.host.told(FramesSkipped(self, count))

    # -- requests to the peer ------------------------------------------------------------------------------------------

    cdef bint takes_replies(self) except -1:
        """Whether its peer was asked for something: what finds the replies is not compiled."""
        cdef CodecInput uncompiled = self.uncompiled
        if uncompiled is None or self.framing is not None:
            return False
        inbound = uncompiled.inbound
        return inbound.requests is not None

    def take_requests(self):
        """Have the replies to what is sent from now on taken out of the input."""
        cdef CodecInput uncompiled
        codec = self.codec
        if self.framing is not None:
            refuse_silence(codec)
            self.uncompile(codec)
            self.framing = None
        uncompiled = self.uncompiled
        inbound = uncompiled.inbound
        requests = requests_of(inbound, codec, (<object>self)._has_reply)
        if not requests and requests.in_order and uncompiled.at < len(uncompiled.batch) and inbound.gives_back:
            uncompiled.cut_by(inbound.codec, inbound.silence_counts)
        return requests

    cdef int refuse_owed_replies(self) except -1:
        """TLS is about to begin: no reply may come in clear."""
        if self.takes_replies():
            refuse_owed(self.uncompiled.inbound.requests)
        return 0

    def find_replies(self):
        """Look for them among what was received before."""
        cdef CodecInput uncompiled = self.uncompiled
        if uncompiled is None:  # what noted the request has ended the input, and the codec since is compiled
            return
        inbound = uncompiled.inbound
        inbound.find_replies()

    cdef int end_requests(self, str why) except -1:
        """No reply will come any more: for the reason given, or because the connection ends."""
        cdef CodecInput uncompiled = self.uncompiled
        if uncompiled is not None:
            inbound = uncompiled.inbound
            inbound.end_requests(why)
        return 0

    # -- another codec -------------------------------------------------------------------------------------------------

    cdef int uncompile(self, object codec) except -1:
        """Hand what waits in compiled framing to a codec itself."""
        cdef bytes rest = b""
        cdef CodecInput uncompiled = CodecInput(codec)
        if self.input != NULL:
            rest = self.input.at[:self.input.end - self.input.at]
        uncompiled.feed(rest)
        self.uncompiled = uncompiled
        self.drop_input()
        return 0

    cdef int switch(self, object codec) except -1:
        """Cut what no message has taken yet, and what follows, with another codec."""
        cdef Framing framing
        cdef CodecInput uncompiled
        if self.takes_replies():
            end_superseded(self.uncompiled.inbound.requests, codec)
        framing = None if self.host.skips_bad or self.takes_replies() else framing_of(codec)
        if self.framing is None:
            uncompiled = self.uncompiled
            uncompiled.switch_to(codec)
            if uncompiled is not self.uncompiled:  # the codec before, which was asked, ended or switched the connection
                return self.switch(codec)
            uncompiled.compiled = framing
            if framing is not None and self.compiles():
                return 0
            return self.watch_rest()
        if framing is None:
            self.uncompile(codec)
            uncompiled = self.uncompiled
            uncompiled.cut_by(codec, True)  # one by one at first: it may be changed for each message
            self.framing = None
            return self.watch_rest()
        if self.input != NULL:
            self.input.searched = 0
        self.framing = framing
        return self._listens_for(None)


seal(globals())
