"""Messages that wait until somebody receives them: cut ahead, handed out in turn, and what follows the last."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, TypeVar

from ..codecs.base import Codec
from ..core.contract import codec_changed
from ..core.endings import last_message
from ..core.inbound import StreamInbound
from ..core.law.closing import CLOSED
from ..core.law.deadlines import MESSAGE_AT_WORK
from ..core.requests import end_superseded
from ..core.timeouts import Timeout
from ..errors import CodecError, RemoteProtocolError
from ..reasons import CloseReason
from .connection import LinkedConnection

M = TypeVar("M")

# Messages cut from the input ahead of `receive`. More would save little, and a codec switch cuts them all again.
PREFETCH: Final = 64

# Of two bases of a class only one may have slots: those of this one stand in its subclasses.
_NO_SLOTS: Final[tuple[str, ...]] = ()


class ReceivingConnection(LinkedConnection[M]):
    """The part that coroutines and threads share. How one waits is theirs.

    Attributes:
        _ready: What was cut and nobody has received.
        _batch_size: Of the batch that `_ready` is the rest of; 0 before the first.
        _input_over: The peer's EOF came.
        _expired: A deadline that has passed, of which whoever receives is told next.
        _cutter: What cuts the next message in place of the connection's codec; None as a rule.
        _silence_counted: Whether silence ended messages before it did.
    """

    __slots__ = _NO_SLOTS

    _ready: deque[M]
    _batch_size: int
    _input_over: bool
    _expired: Timeout | None
    _cutter: Codec[bytes] | None
    _silence_counted: bool

    def _begin_receiving(self) -> None:
        self._ready = deque()
        self._batch_size = 0
        self._input_over = False
        self._expired = None
        self._cutter = None

    def _finds_message(self, most: int) -> bool:
        """Have the next message in `_ready`, and up to ``most``; say whether there is one, or it has to be waited for.

        Raises:
            TimeoutPassedError: A deadline has, whose callback comes first.
            BadMessagePassedError: The next one was passed over. There may be another after it.
            EndOfStreamError, RemoteProtocolError, CodecError, ConnectionEndedError: There will be none.
        """
        if self._expired is not None:
            which, self._expired = self._expired, None
            if not self._closing:  # by the callback that was at work then, or by the peer
                raise TimeoutPassedError(which)
        if self._ready:
            return True
        self._has_finished()
        if (self._closing and self._state != CLOSED) or (self._rare is not None and self._has_refused()):
            raise self._why_not()
        try:
            messages = self._inbound.take(most)
            if not messages and (self._input_over or self._draining or self._state == CLOSED):
                if self._state == CLOSED and not self._input_over:
                    raise self._why_not()
                messages = [last_message(self._inbound, peer_ended=self._input_over)]
        except (RemoteProtocolError, CodecError) as error:
            if self._passes_over(error):
                raise BadMessagePassedError(error) from None
            self._break_off(error)
            raise
        if not messages:
            return False
        self._ready.extend(messages)
        self._batch_size = len(messages)
        self._has_message()
        if self._rare is not None:
            self._arm(self._leaves_behind(self._clock.time(), self._inbound.pending_bytes))
        return True

    def _takes_token(self) -> bool:
        """Whether the next message may be handed out at the rate its peer may send at. Close if it must not wait."""
        now = self._clock.time()
        allowed = self._allows(1, now)
        if allowed > 0:
            self._spends(1, now)
        elif allowed < 0:
            self._close(CloseReason.MESSAGE_RATE)
        return allowed > 0

    def set_codec(self, codec: Codec[Any]) -> None:
        """Speak another codec, from the message after the one received last."""
        if self._inbound.requests is not None:
            end_superseded(self._inbound.requests, codec)
        self.codec = codec
        if self._cutter is None and (self._ready or self._rare is not None or not self._inbound.change(codec)):
            self._cut_by(codec)
        if getattr(self._context.server, "codec_changed", None) is not None:
            codec_changed(self)

    def _cut_by(self, codec: Codec[Any], *, silence_counts: bool = True) -> None:
        unhandled = len(self._ready)
        self._ready.clear()
        handled = self._batch_size - unhandled
        is_watched = self._inbound.switch(codec, handled, unhandled, silence_counts=silence_counts)
        # What counts the frames that are passed over would be a cycle for ever, where the link is gone.
        if (is_watched or self._rare is not None) and not self._gone:
            self._watch_input()

    def _uncut(self) -> None:
        inbound = self._inbound
        if self._ready and isinstance(inbound, StreamInbound) and inbound.gives_back:
            self._cut_by(inbound.codec)

    def _take_past(self, what: Codec[bytes] | int | bytes) -> bytes | None:
        """Take what another codec cuts, or so many bytes, or those up to a delimiter.

        None: they are not all there, or something has to be looked at before.
        """
        if self._ready or self._rare is not None or self._expired is not None or self._closing:
            return None
        if self._levels.message_step_s or self._cutter is not None:
            return None
        inbound = self._inbound
        if isinstance(what, int):
            taken = inbound.take_bytes(what)
        else:
            taken = inbound.take_until(what) if isinstance(what, bytes) else inbound.take_by(what)
        if taken is not None:
            if self._whose_move != MESSAGE_AT_WORK:
                self._has_message()
            self._batch_size = 1
            self.messages_in += 1
        return taken

    def _lend(self, cutter: Codec[bytes]) -> None:
        """Have the next message cut by another codec, past the connection's own."""
        self._cutter = cutter
        self._silence_counted = self._inbound.silence_counts
        self._cut_by(cutter)

    def _take_back(self) -> None:
        """Have what follows cut by the connection's own codec again."""
        self._cutter = None
        self._cut_by(self.codec, silence_counts=self._silence_counted)

    def _holds_input(self) -> bool:
        return bool(self._ready) or super()._holds_input()

    @property
    def messages_begun(self) -> int:
        """Messages that its handler was given."""
        return self.messages_in

    @property
    def has_unfinished(self) -> bool:
        """Whether a message that was received whole is at work, or has yet to be; asked when the link is gone."""
        if not self._ready:
            self._ready.extend(messages := self._inbound.take_whole(PREFETCH))  # its handler will meet one that is bad
            if messages:
                self._batch_size = len(messages)
        return bool(self._ready) or self._has_unfinished()

    @property
    def held_bytes(self) -> int:
        """As of every connection, with the messages that were cut ahead and wait for their turn."""
        return super().held_bytes + (self._inbound.batch_bytes if self._ready else 0)


class BadMessagePassedError(Exception):
    """Raised into what receives, which calls ``on_bad_message`` and receives again. It never leaves the engine."""

    def __init__(self, error: RemoteProtocolError | CodecError) -> None:
        self.error = error


class TimeoutPassedError(Exception):
    """Raised into what calls the callbacks, which calls ``on_timeout``. It never leaves the engine."""

    def __init__(self, which: Timeout) -> None:
        self.which = which
