"""Calling a handler at once, for the messages of one read, whose replies leave together."""

from __future__ import annotations

import contextvars
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from itertools import chain, islice
from operator import length_hint
from time import monotonic
from typing import Any, TypeVar

from ...address import Address, Peer
from ...codecs import guard
from ...codecs.base import NEED_DATA, Codec
from ...config import OnFull
from ...core.contract import codec_changed
from ...core.endings import reason_after
from ...core.handlers import CallbackHandler, Handler, MessageHandler, answer_to_bad_messages
from ...core.interrupts import is_interrupt
from ...core.requests import end_superseded
from ...core.turns import FIRST_LOOK, LONGEST_S, LOOKED_AT
from ...errors import CodecError, RemoteProtocolError
from ...reasons import CloseReason
from .context import LoopContext
from .stream import StreamConnection
from .waiter import raise_it

M = TypeVar("M")


class AnsweringConnection(StreamConnection[M]):
    """Calls a handler for a batch of messages, frames what it returns, and does then what it asked for meanwhile.

    Which messages, and when, is for who inherits from it to say.
    """

    __slots__ = (
        "_callbacks",
        "_failure",
        "_interrupted",
        "_late",
        "_next_codec",
        "_on_message",
        "_replies",
        "_variables",
    )

    def __init__(
        self,
        context: LoopContext,
        handler: MessageHandler | CallbackHandler,
        codec: Codec[M],
        peer: Peer,
        local: Address,
        *,
        records: bool = False,
    ) -> None:
        super().__init__(context, codec, peer, local, records=records)
        self._callbacks: Handler[M] | None = (callbacks := handler.callbacks())
        self._on_message: Callable[[M], Any] = handler.for_messages(self, callbacks)
        self._survives_bad_messages(answer_to_bad_messages(handler, callbacks))
        self._replies: list[M] = []  # of the batch at hand, not yet encoded
        self._failure: BaseException | None = None  # of one of them, met while the handler of a later message works
        # What the handler asked for in the middle of a batch, done when it returns.
        self._interrupted = False
        self._late = False  # the messages at hand have taken long enough
        self._next_codec: Codec[Any] | None = None
        self._variables: contextvars.Context = context.variables.copy()  # of this connection alone

    @abstractmethod
    def _continue_later(self) -> None:
        """Give others their turn, then go on with the input."""

    def _set_callbacks(self, handler: Handler[Any]) -> None:
        self._callbacks = handler
        self._on_message = partial(handler.on_message, self)

    # -- calling the handler -------------------------------------------------------------------------------------------

    def _call(self, callback: Callable[[], object]) -> None:
        """Call a callback that is not about a message."""
        self._corking = self._handling = True
        error: BaseException | None = None
        try:
            self._variables.run(callback)
        except BaseException as caught:
            error = caught
        self._called(error, 0, 0)

    def _handle(self, messages: list[M]) -> None:
        """Call the handler for each message and send the replies."""
        self._corking = self._handling = True
        self._interrupted = False
        remaining = iter(messages)
        in_time = remaining if len(messages) <= LOOKED_AT else chain.from_iterable(self._in_time(remaining))
        error: BaseException | None = None
        output: bytes | None = None
        try:
            output = self._variables.run(self._answer, in_time)
        except BaseException as caught:
            error = caught
            try:
                self._encode_replies()  # of the messages before the one that failed
            except BaseException as second:  # the first failure is the one that is reported
                if is_interrupt(second):
                    error = second
        if output is not None:  # by far the most frequent
            self._corking = self._handling = False
            self.bytes_out += len(output)
            if queued_bytes := self._link.send(output):
                self._output_queued(queued_bytes)
        else:
            unhandled = length_hint(remaining)
            self.messages_in -= unhandled  # they are cut again
            self._called(error, len(messages) - unhandled, unhandled)

    def _in_time(self, messages: Iterator[M]) -> Iterator[Iterator[M]]:
        """Yield the messages in parts; stop, and have the rest of them cut again, when they have taken too long."""
        until = monotonic() + LONGEST_S
        count = FIRST_LOOK
        while length_hint(messages):
            yield islice(messages, count)
            count = LOOKED_AT
            if monotonic() > until and length_hint(messages):
                self._interrupted = self._late = True
                self._next_codec = self._next_codec or self.codec
                return

    def _answer(self, messages: Iterator[M]) -> bytes | None:
        """Call the handler for each message, until it is interrupted.

        One call for the whole batch: what guards a codec, and the context of the connection, cost a call each.

        Returns:
            The replies as they are sent, where there is nothing to be done with them but that; else None: they are in
            the output.

        Raises:
            What the handler raises, and what `_encode_replies` raises, as it does.
        """
        replies, on_message = self._replies, self._on_message
        for message in messages:
            reply = on_message(message)
            if reply is not None:
                replies.append(reply)
            if self._interrupted:
                break
        count = len(replies)
        if self._interrupted or self._records or self._corked or self._write_paused or not (count and self._can_send):
            self._encode_replies()
            return None
        codec = self.codec
        try:
            if count == 1:
                data = codec.encode(replies[0])
                if type(data) is not bytes:
                    data = guard.as_bytes(codec, "encode", data)
            else:
                data = codec.encode_many(replies)
                if type(data) is not bytes:
                    data = guard.as_bytes(codec, "encode_many", data)
        except Exception as error:
            if count == 1:
                replies.clear()
                raise guard.failure(codec, "encode", error)  # noqa: B904 - as `guard` does
            self._encode_singly(replies)
            raise guard.failure(codec, "encode_many", error)  # noqa: B904
        replies.clear()
        if self._interrupted or self._corked or self._write_paused or not self._can_send:  # type: ignore[redundant-expr]
            self._put_joined(data, count)  # by the codec, while it encoded
            return None
        self._messages_out += count
        return data

    def _called(self, error: BaseException | None, handled: int, unhandled: int) -> None:
        """The handler returned, or raised: send what it left, then do what it asked for."""
        self._handling = False
        if handled and error is None and self._next_codec is not None and self._gathers_on():
            self._go_on_by(self._next_codec, handled, unhandled)
            return
        self._corking = False
        if error is not None and is_interrupt(error):
            # Not the handler's: when the loop runs again, the connection goes on with what it has.
            self._inbound.switch(self.codec, handled, unhandled)
            self._next_codec = None
            self._continue_later()
            # A transport would take it for an error of its own.
            self._context.loop.call_soon(raise_it, error)
            return
        if self._failure is not None:  # it was the first
            error, self._failure = self._failure, None
        self._uncork()
        if error is not None:
            self._handler_failed(error)
        elif self._close_after is not None:
            self._close(self._close_after)
        elif self._next_codec is not None:
            self._go_on_by(self._next_codec, handled, unhandled)
            if self.is_to_be_secured:
                self._secure()

    def _go_on_by(self, codec: Codec[Any], handled: int, unhandled: int) -> None:
        """Have the rest of the batch, and what follows, cut by another codec, or once more by this one."""
        self._next_codec = None
        if not unhandled and self._rare is None and self._inbound.change(codec):
            return
        if self._inbound.switch(codec, handled, unhandled) or self._rare is not None:
            self._watch_input()

    def _gathers_on(self) -> bool:
        """Whether what was answered leaves with the answers to what else is there: nothing has to be done before."""
        return False

    def _handle_in_turn(self, most: int) -> None:
        """Go on after a change of codec, with up to ``most`` messages: each is cut when the one before was handled.

        As rounds of one message each would, and as far as that is simple; `_called` and who has called it do the rest.
        """
        if most <= 0 or self._rare is not None or self._records or self._write_paused:
            return
        self._handling = True
        before, bad = self.messages_in, None
        error: BaseException | None = None
        try:
            bad = self._variables.run(self._answer_in_turn, before + most)
        except BaseException as caught:
            error = caught
        handled = self.messages_in - before
        if not handled and error is None and bad is None:
            self._handling = False
            return
        self._called(error, handled, 0)
        if bad is not None and not self._closing and not self._passes_over(bad):
            self._break_off(bad)

    def _answer_in_turn(self, until_count: int) -> RemoteProtocolError | CodecError | None:
        """Cut messages and call the handler for each, until nothing whole is left, or something else is to be done.

        Returns:
            What is wrong with the next message; None as a rule.

        Raises:
            What the handler raises, and what `_encode` and `_put` raise.
        """
        inbound, levels, count = self._inbound, self._levels, self.messages_in
        look_at, until = min(count + FIRST_LOOK, until_count), monotonic() + LONGEST_S
        codec = self.codec
        while True:
            try:
                message = inbound.take_one(codec)
            except (RemoteProtocolError, CodecError) as error:
                self._next_codec = None
                return error
            if inbound.codec is codec:
                self._next_codec = None
            if message is NEED_DATA:
                return None
            self._interrupted = False
            self.messages_in = count = count + 1
            reply = self._on_message(message)
            if reply is not None:
                self._put_reply(reply)
            if not self._interrupted:
                if not inbound.few:
                    return None
            elif self._next_codec is None or self._close_after is not None or self._closing:
                return None
            else:
                codec = self._next_codec
                if self._failure is not None or self._upgrade is not None:
                    return None
                if codec is inbound.codec and not inbound.change(codec):  # by `set_handler`, say
                    return None
            if self._write_paused:
                return None
            if count >= look_at:
                if count >= until_count or self._rare is not None or self._levels is not levels:
                    return None
                if monotonic() > until:
                    self._late = bool(inbound.pending_bytes)
                    return None
                look_at = min(count + LOOKED_AT, until_count)

    def _put_reply(self, reply: M) -> None:
        """Gather the reply to a message that was cut by itself."""
        if not self._can_send:
            if self._closing or self._failure is not None:
                return
            raise self._why_not()
        codec = self.codec
        try:
            data = codec.encode(reply)
            if type(data) is not bytes:
                data = guard.as_bytes(codec, "encode", data)
        except Exception as error:
            raise guard.failure(codec, "encode", error)  # noqa: B904 - as `guard` does
        is_full = self._write_paused or self._corked_bytes >= self._levels.high
        if self._corking and not is_full and self._can_send:  # the codec may have closed it
            self._corked.append(data)
            self._corked_bytes += len(data)
        else:
            self._put(data)

    def _encode_replies(self) -> None:
        """Move the replies of the batch to the output, in the order of their messages.

        Raises:
            LocalProtocolError, TypeError, CodecError: One is no message of the codec, or the codec failed at it. Those
                before it are in the output.
            ClosedError: EOF was sent before them.
        """
        replies = self._replies
        if not replies:
            return
        if self._closing or self._failure is not None:
            replies.clear()
        elif not self._can_send:
            replies.clear()
            raise self._why_not()
        elif self._records or len(replies) == 1:
            self._encode_singly(replies)
        else:
            try:
                data = guard.encode_many(self.codec, replies)
            except Exception:
                self._encode_singly(replies)
                raise
            count = len(replies)
            replies.clear()
            self._put_joined(data, count)

    def _encode_replies_before(self) -> None:
        """What the handler does itself comes after what was returned before.

        That a reply cannot be sent is no matter of the handler at work, which was called for a later message: it finds
        the connection closing. It is reported when that handler has returned, and no further one is called.
        """
        try:
            self._encode_replies()
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._failure = error
            self._close(reason_after(error))

    def _encode_singly(self, replies: list[M]) -> None:
        waiting = replies[:]
        replies.clear()
        for reply in waiting:
            self._put(self._encode(reply))

    # -- what a handler may do in the middle of a batch ----------------------------------------------------------------

    def post(self, message: M, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message; never wait."""
        if self._replies:
            self._encode_replies_before()
        super().post(message, on_full=on_full, key=key)

    def post_frame(self, frame: bytes, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message that is framed already."""
        if self._replies:
            self._encode_replies_before()
        super().post_frame(frame, on_full=on_full, key=key)

    def try_send(self, message: M) -> bool:
        """Queue one message if output is not over its high watermark."""
        if self._replies:
            self._encode_replies_before()
        return super().try_send(message)

    def start_tls(self, tls: Any = None, *, reply: M | None = None) -> None:
        """Speak TLS from now on, or once the handler of the message at hand has returned."""
        if self._replies:
            self._encode_replies_before()
        super().start_tls(tls, reply=reply)
        if self._handling:
            self._next_codec = self._next_codec or self.codec  # what came with this message is given back, and refused
            self._interrupted = True

    def set_codec(self, codec: Codec[Any]) -> None:
        """Speak another codec, from the message after the one at hand."""
        if self._replies:
            self._encode_replies_before()
        if self._inbound.requests is not None:
            end_superseded(self._inbound.requests, codec)
        self.codec = codec
        if self._handling:
            self._next_codec = codec
            self._interrupted = True
        else:
            self._inbound.switch(codec, 0, 0)
            self._watch_input()
        if getattr(self._context.server, "codec_changed", None) is not None:
            codec_changed(self)

    def _uncut(self) -> None:
        if self._handling:
            self.set_codec(self.codec)

    def set_handler(self, handler: Handler[Any]) -> None:
        """Hand the messages after the one at hand to another handler."""
        if self._callbacks is None:
            super().set_handler(handler)
        self._set_callbacks(handler)
        if self._handling:
            self._next_codec = self.codec  # the messages not yet handled are given back, to be cut again
            self._interrupted = True

    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving."""
        if self._replies:
            self._encode_replies_before()
        super().send_eof()

    def _close(self, reason: CloseReason) -> None:
        self._interrupted = True
        super()._close(reason)

    def _lose(self, reason: CloseReason) -> None:
        self._interrupted = True
        super()._lose(reason)
