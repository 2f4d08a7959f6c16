"""What a codec is: a decoder and an encoder in one immutable object, with no I/O, no clock and no buffer of its own.

One codec object serves every connection at once, in servers, clients, the command line and tests. What it must
remember about a frame that has not wholly arrived lives in the connection's `Buffer`, never in the codec.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

from ..errors import CodecError, RemoteProtocolError, TruncatedError

M = TypeVar("M")

# Lines and other delimiter-searched text. Every peer may hold one partial frame at once: 10 000 peers cost 655 MB.
DEFAULT_MAX_LINE_BYTES: Final = 64 * 1024
# Frames that announce their length. Nothing is allocated by an announced length, only as bytes arrive.
DEFAULT_MAX_FRAME_BYTES: Final = 1024 * 1024
# Containers one inside the other: far above what people nest, far under where an interpreter's own guard against
# recursion may strike, which differs by version and by thread. The second number is the highest that may be asked for.
DEFAULT_MAX_DEPTH: Final = 128
HIGHEST_MAX_DEPTH: Final = 512


class _NeedData(enum.Enum):
    NEED_DATA = "need_data"

    def __repr__(self) -> str:
        return "NEED_DATA"


# Not None: JSON's null, RESP's null and msgpack's nil are messages, and they decode to None.
NEED_DATA: Final = _NeedData.NEED_DATA
NeedData = Literal[_NeedData.NEED_DATA]


class Null:
    """The type of `NULL`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NULL"


# What a message handler returns to answer with JSON's null, RESP's null or msgpack's nil: None is no reply.
NULL: Final = Null()


OnOversize = Literal["close", "skip"]
# The longest frame that is passed over where that was asked for, in bytes.
DEFAULT_MAX_SKIP_BYTES: Final = 16 * 1024 * 1024


class Buffer(bytearray):
    """The received bytes of one connection that no message has taken yet.

    Attributes:
        resume: The codec's note to itself about the incomplete frame at the front: how far it has searched, a parse
            stack. Engines never look inside. A codec that takes a frame off the front sets it back to None.
        skipped: How many frames were passed over because they were too long.
        silence_counts: Whether a silence ends a message, where the codec has a ``quiet_s``. A codec that knows ends of
            frames too sets it to False when its peer has sent one: a peer that ends its frames is taken at its word.
    """

    __slots__ = ("resume", "silence_counts", "skipped")
    resume: Any
    skipped: int
    silence_counts: bool

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(data)
        self.resume = None
        self.skipped = 0
        self.silence_counts = True


_BUILT_IN: Final = f"{__package__}."


def is_built_in(kind: type) -> bool:
    """Whether a codec's class, or one that it is derived from, is Penstock's own."""
    return kind.__module__.startswith(_BUILT_IN)


class Codec(ABC, Generic[M]):
    """Cuts a byte stream into messages, and frames messages for the stream.

    A user's codec is a subclass with `decode` and `encode`. The other methods have defaults in terms of those two;
    the built-in codecs override them to be faster, never to behave otherwise.

    The law every codec obeys: how the network cuts the bytes changes nothing. And for every message that `encode`
    accepts, decoding what it returned gives an equal message; a codec of objects that also writes other types than it
    reads (JSON: a tuple, as an array) gives what it has written them as.

    A subclass of a built-in codec that overrides `decode` or `encode` alone is honoured everywhere: the forms for
    batches and datagrams that it would inherit know nothing of that, and are replaced by the defaults of this class.

    A codec that also has ``request_id(message)`` and ``reply_id(message)`` says which request a reply belongs to, for
    `ConnectionBase.request` and `penstock.Client`: replies may then come in any order, between other messages.

    Attributes:
        name: The word users write for it: ``--codec NAME``.
        message_type: What people write and read its messages as, where they do: bytes stand for themselves, str is
            UTF-8, anything else is JSON.
        max_frame_bytes: Upper bound of one frame's payload, in bytes, both ways.
        skips: Whether `decode` may take bytes off the front that belong to no message, and still say `NEED_DATA`:
            blank lines, white space between messages.
        on_oversize: ``skip``: a frame over ``max_frame_bytes`` is passed over; ``close``: it ends the connection.
        quiet_s: How long nothing has to come, in seconds, for what is there to be a message: framing by silence. None,
            the default: silence ends none. The codec has no clock; the engine has, and calls `decode_quiet`.
    """

    name: ClassVar[str] = "custom"
    message_type: ClassVar[type] = bytes
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    skips: bool = False
    on_oversize: OnOversize = "close"
    quiet_s: float | None = None
    _compiled: bool = True  # False: the options of this one have no compiled framing

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The built-in codecs have every form of their own, and datagrams without framing on purpose.
        if not is_built_in(cls):
            _honour_overrides(cls)

    @abstractmethod
    def decode(self, buffer: Buffer) -> M | NeedData:
        """Take one message off the front of ``buffer``.

        Deterministic: the same bytes give the same message. Work done on an incomplete frame is remembered in
        ``buffer.resume``, so that a frame fed byte by byte costs O(n).

        Returns:
            The message, its bytes deleted from ``buffer``; or `NEED_DATA` when the frame is not complete, and then
            the buffer's bytes are untouched, unless the codec ``skips``. "Not yet" is never an error.

        Raises:
            RemoteProtocolError: What is there can never become a frame, however much follows. It is raised as early
                as the bytes allow: from a header alone, from an unterminated frame at the limit. The buffer's bytes
                are untouched; the stream is over. Where the frame has ended all the same, and only what is in it is
                bad, ``raise error.skipping(size)`` says how many bytes of the buffer it is, so that a service may go on
                after it.
        """

    @abstractmethod
    def encode(self, message: M) -> bytes:
        """Frame one message.

        Raises:
            LocalProtocolError: The other end's decoder would refuse it: too long, or it contains the delimiter.
            TypeError: It is not a message of this codec.
        """

    def finish(self, buffer: Buffer) -> M | NeedData:
        """Say what the bytes left over at EOF are. Called once, after `decode` said `NEED_DATA`.

        Returns:
            A last message, for formats whose final terminator may be missing; or `NEED_DATA`: nothing is owed.

        Raises:
            TruncatedError: The stream ended in the middle of a frame.
        """
        if buffer:
            raise TruncatedError(len(buffer), bytes(buffer))
        return NEED_DATA

    def decode_quiet(self, buffer: Buffer) -> M | NeedData:
        """Say what the bytes are after which nothing has come for ``quiet_s``. Called after `decode` said `NEED_DATA`.

        All of them are taken, by this method or by who calls it. What it leaves in ``buffer.resume`` stays, for the
        bytes that follow: the rest of an end that came too late, say. By default they are what `finish` makes of them.

        Returns:
            A message; or `NEED_DATA`: they are none.

        Raises:
            RemoteProtocolError: The stream is over.
        """
        return self.finish(buffer)

    def decode_many(self, data: bytes, limit: int) -> tuple[list[M], int]:
        """Take up to ``limit`` messages off the front of ``data``, which starts at the beginning of a frame.

        Returns:
            The messages, and how many bytes of ``data`` they took. What follows the last of them is left for the next
            call: an incomplete frame, a bad one, bytes that belong to no message.

        Raises:
            RemoteProtocolError: The first frame is bad.
        """
        buffer = Buffer(data)
        messages: list[M] = []
        taken = 0
        while len(messages) < limit:
            before = len(buffer)
            try:
                message = self.decode(buffer)
            except Exception:
                if not messages:
                    raise
                break
            if message is NEED_DATA or (messages and len(buffer) >= before):  # which the next call says is wrong
                break
            messages.append(message)
            if len(buffer) >= before:
                break
            taken = len(data) - len(buffer)
        return messages, taken

    def encode_many(self, messages: Sequence[M]) -> bytes:
        """Frame several messages, as `encode` would one after the other.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them. Which one is found by encoding them singly.
        """
        return b"".join([self.encode(message) for message in messages])

    def decode_datagram(self, data: bytes) -> M:
        """Decode a whole datagram, or one record of a seqpacket connection.

        A datagram delimits itself. By default it holds exactly one frame; codecs of plain bytes drop their framing
        instead (as DNS does with its length prefix over UDP: RFC 1035 section 4.2), so that an empty datagram is a
        message.

        Raises:
            RemoteProtocolError: It holds less than one message, or more than one.
            CodecError: `decode` returned a message and took nothing.
        """
        buffer = Buffer(data)
        message = self.decode(buffer)
        if message is NEED_DATA:
            message = self.finish(buffer)
            if message is NEED_DATA:
                raise TruncatedError(len(data), data)
        elif buffer:
            if len(buffer) >= len(data):
                raise CodecError(self.name, "decode", "returned a message and took no bytes off the buffer")
            raise RemoteProtocolError(f"{len(buffer)} bytes follow the message in one datagram")
        return message

    def encode_datagram(self, message: M) -> bytes:
        """Encode one message as one datagram.

        Raises:
            LocalProtocolError, TypeError: As `encode`.
        """
        return self.encode(message)


# What goes with what: methods that a class inherits from a built-in codec are stale where it, or a class between,
# overrides those they are about. The forms of a datagram stand and fall together: what is sent as one is read as one.
_ABOUT: Final = (
    (("decode_many",), ("decode",)),
    (("encode_many",), ("encode",)),
    (("decode_datagram", "encode_datagram"), ("decode", "encode")),
)


def _honour_overrides(cls: type[Codec[Any]]) -> None:
    """Give a class the default forms where it would inherit those of another codec's frames."""
    own = [ancestor for ancestor in cls.__mro__ if not is_built_in(ancestor)]
    for forms, basis in _ABOUT:
        for ancestor in own:
            if not vars(ancestor).keys().isdisjoint(forms):
                break
            if not vars(ancestor).keys().isdisjoint(basis):
                for form in forms:
                    setattr(cls, form, vars(Codec)[form])
                break
