"""Compiled framing of the built-in codecs: which codec has which, and a way in for tests.

A codec that has none, a user's own above all, is called itself.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport realloc

from ..census cimport PENSTOCK_DEBUG, living
from .frames cimport NEED_DATA, Framing, Input, clear, feed, keep
from ..sealed cimport seal
from ..connection.transport cimport Block, Transport

from ....codecs.delimited import Delimited
from ....codecs.duplex import Duplex
from ....codecs.fixed import Fixed
from ....codecs.json_lines import JsonLines
from ....codecs.length_prefixed import LengthPrefixed
from ....codecs.lines import Lines
from ....codecs.msgpack import Msgpack
from ....codecs.netstring import Netstring
from ....codecs.raw import Raw
from ....codecs.resp.codec import Resp
from ....codecs.structs import Struct
from ....codecs.text import Text
from ....codecs.varint import Varint
from .counted import FixedFraming, LengthFraming, NetstringFraming, RawFraming, VarintFraming
from .objects import JsonLinesFraming, MsgpackFraming, StructFraming
from .resp import RespFraming
from .terminated import DelimitedFraming, LinesFraming, TextFraming

cdef dict FRAMINGS = {
    Delimited: DelimitedFraming,
    Fixed: FixedFraming,
    JsonLines: JsonLinesFraming,
    LengthPrefixed: LengthFraming,
    Lines: LinesFraming,
    Msgpack: MsgpackFraming,
    Netstring: NetstringFraming,
    Raw: RawFraming,
    Resp: RespFraming,
    Struct: StructFraming,
    Text: TextFraming,
    Varint: VarintFraming,
}

# With a limit and an adjustment up to here no sum of two lengths overflows. Above it the codec counts without bounds.
cdef object LARGEST_LIMIT = 1 << 56
cdef object LARGEST_ADJUSTMENT = 1 << 31


# A protocol that changes its framing for each message goes back and forth between a few.
cdef dict KEPT = {}  # by codec: of built-in ones alone, which are equal to themselves only
cdef dict ENDED = {}  # by delimiter: of what takes all up to it
cdef Py_ssize_t MOST_KEPT = 512


cdef Framing framing_of(object codec, bint settled=False):
    """Return the compiled framing of a codec; None when there is none and the codec itself is to be called.

    Where a codec frames by silence it cuts itself until its peer ends its messages: ``settled``.

    A subclass of a built-in codec has none: nothing is known of what it overrides.
    """
    framing = FRAMINGS.get(type(codec))
    if settled or framing is None:
        return _made(codec, framing, settled)
    cdef Framing kept = KEPT.get(codec)
    if kept is None or kept.limit != codec.max_frame_bytes:  # which may be set
        kept = _made(codec, framing, False)
        if kept is not None:
            _keep(KEPT, codec, kept)
    return kept


cdef int _keep(dict kept, object key, object value) except -1:
    if len(kept) >= MOST_KEPT:
        kept.clear()
    kept[key] = value
    return 0


cdef Framing _made(object codec, object framing, bint settled):
    cdef DuplexFraming both
    if type(codec) is Duplex:
        both = DuplexFraming(codec)
        both.received = framing_of(codec.receives, settled)
        both.sent = framing_of(codec.sends, True)
        return None if both.received is None else both
    if framing is None or not codec._compiled or codec.max_frame_bytes > LARGEST_LIMIT:
        return None
    if codec.quiet_s is not None and not settled:
        return None
    if framing is LengthFraming and abs(codec.adjustment) > LARGEST_ADJUSTMENT:
        return None
    return framing(codec)


cdef class DuplexFraming(Framing):
    """What cuts by one codec and puts by another, which need not be compiled."""

    cdef Framing received, sent

    cdef object cut(self, Input* input):
        return self.received.cut(input)

    cdef bint put(self, Transport to, object message) except -1:
        return self.sent is not None and self.sent.put(to, message)


# -- past the codec ----------------------------------------------------------------------------------------------------


cdef Framing known_until(bytes delimiter, Py_ssize_t limit):
    """Return what cuts all up to a delimiter, for a codec of that limit; None: it has yet to be chosen."""
    cdef Framing known = ENDED.get(delimiter)
    return known if known is not None and known.limit == limit else None


cdef Framing framing_of_cutter(object what, object cutter):
    """Return the compiled framing of what `core.cutters` has chosen, and know it by its delimiter."""
    cdef Framing framing = framing_of(cutter)
    assert framing is not None, "what takes all up to a delimiter, or so many bytes, is compiled"
    if type(what) is bytes:
        _keep(ENDED, what, framing)
    return framing


# -- for tests ---------------------------------------------------------------------------------------------------------


cdef class Cutter:
    """One stream cut by a compiled framing, as a connection does it: feed, cut until more is needed, settle.

    Where silence ends messages: as that of a peer that ends them itself by now.

    Args:
        codec: Whose framing it is.

    Raises:
        LookupError: The codec has no compiled framing.
    """

    cdef Framing framing
    cdef Input input
    cdef bytearray received

    def __init__(self, codec):
        self.framing = framing_of(codec, settled=True)
        if self.framing is None:
            raise LookupError(codec.name)
        self.received = bytearray()

    def __dealloc__(self):
        clear(&self.input)

    def feed(self, data):
        """Add bytes that came. Settle before more come."""
        self.received = bytearray(data)
        if self.received:
            feed(&self.input, PyByteArray_AS_STRING(self.received), PyByteArray_GET_SIZE(self.received))

    def cut(self):
        """Return the next message, or NEED_DATA.

        Raises:
            RemoteProtocolError: The next frame is bad.
        """
        cdef Framing framing = self.framing
        return framing.cut(&self.input)

    def settle(self):
        """Do what happens when the connection's turn is over: what was received is overwritten by what others receive."""
        cdef Py_ssize_t at
        keep(&self.input)
        for at in range(PyByteArray_GET_SIZE(self.received)):
            PyByteArray_AS_STRING(self.received)[at] = c"\xff"

    def clear(self):
        """Do what closing the connection does."""
        clear(&self.input)

    @property
    def held(self):
        """How many bytes no message has taken."""
        return self.input.end - self.input.at

    @property
    def rest(self):
        """Those bytes."""
        return PyBytes_FromStringAndSize(self.input.at, self.input.end - self.input.at)


def cut_all(codec, pieces):
    """Cut a stream that arrives in these pieces.

    Returns:
        The messages, the error that ended them or None, and the bytes that no message has taken.

    Raises:
        LookupError: The codec has no compiled framing.
    """
    cutter = Cutter(codec)
    messages = []
    for piece in pieces:
        refusal = None
        cutter.feed(piece)
        try:
            while (message := cutter.cut()) is not NEED_DATA:
                messages.append(message)
        except Exception as error:
            refusal = error
        if refusal is not None:
            return messages, refusal, cutter.rest
        cutter.settle()
    return messages, None, cutter.rest


cdef class Gathered(Transport):
    """Output that goes nowhere."""

    cdef int reserve(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t held = 0 if self.out == NULL else self.out.end
        cdef Block* block = <Block*>realloc(self.out, sizeof(Block) + held + size)
        if block == NULL:
            raise MemoryError
        if PENSTOCK_DEBUG:
            living.blocks += self.out == NULL
        block.size = block.at = block.corked = 0  # of the heap, whatever its size
        block.end = held
        self.out = block
        return 0


def put(codec, message):
    """Frame a message as it is put behind a connection's output.

    Returns:
        Its bytes, or None where that is left to the codec.

    Raises:
        LookupError: The codec has no compiled framing.
    """
    cdef Framing framing = framing_of(codec, settled=True)
    cdef Gathered output = Gathered.__new__(Gathered)
    if framing is None:
        raise LookupError(codec.name)
    if not framing.put(output, message):
        return None
    return b"" if output.out == NULL else PyBytes_FromStringAndSize(<char*>(output.out + 1), output.out.end)


seal(globals())
