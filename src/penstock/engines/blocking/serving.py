"""A server's connection: its handler, from the first call to the last, on one thread."""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from threading import get_ident
from typing import Any, Final, TypeVar

from ...address import Address, Peer
from ...codecs import guard
from ...codecs.base import Codec
from ...config import OnFull
from ...core.endings import reason_after
from ...core.handlers import AnyHandler, Handler, answer_to_bad_messages, expects_messages
from ...core.interrupts import is_interrupt
from ...core.law.deadlines import IDLE
from ...core.timeouts import Timeout
from ...errors import CodecError, ConnectionEndedError, EndOfStreamError, RemoteProtocolError
from ...reasons import CloseReason
from ..in_turn import InTurnConnection
from ..link import LayerMaker
from ..receiving import BadMessagePassedError, TimeoutPassedError
from ..whereabouts import place_of_thread
from .connection import ThreadConnection
from .guarding import ThreadContext
from .poller import Poller

M = TypeVar("M")

# Replies of messages that came together leave together, this many at most: each may be large.
GATHERED_REPLIES: Final = 16


class ServedConnection(InTurnConnection[M], ThreadConnection[M]):
    """A connection and what is done with its messages.

    Args:
        handler: ``def``, of any form.
        at_once: A message handler may block: each reply leaves before the next message is handled. Otherwise the
            replies of what was received together leave together.
    """

    __slots__ = (
        "_at_once",
        "_callbacks",
        "_failure",
        "_handler",
        "_misfit",
        "_on_message",
        "_replies",
        "_returns",
        "_thread",
        "handler_ended",
        "is_orphan",
    )

    def __init__(
        self,
        context: ThreadContext,
        sock: socket.socket,
        poller: Poller,
        handler: AnyHandler,
        *,
        codec: Codec[M],
        peer: Peer,
        local: Address,
        records: bool,
        at_once: bool,
        layer: LayerMaker | None = None,
    ) -> None:
        super().__init__(context, sock, poller, codec, peer=peer, local=local, records=records, layer=layer)
        self._handler = handler
        self._at_once = at_once
        self._callbacks: Handler[M] | None = None
        self._on_message: Callable[[M], Any] | None = None
        self._misfit: BaseException | None = None  # what the user's Handler raised when it was made
        self._replies: list[M] = []  # of the batch at hand, not yet encoded
        self._failure: BaseException | None = None  # of one of them, met while the handler of a later message works
        self._thread: int | None = None
        self._returns = False  # its thread calls callbacks, and comes back to wait for the peer
        self.handler_ended = False
        self.is_orphan = False  # its handler outlives its socket

    def begin(self) -> None:
        """Make the user's `Handler` and start the clocks, before anybody is told of the connection."""
        self.begin_layer()
        self._starts(self._opened_at, False)
        self._arm_next()
        handler = self._handler
        if handler.converses:
            self._survives_bad_messages(answer_to_bad_messages(handler, None))
            return
        self._prefetch = self._context.limits.batch_messages
        try:
            callbacks = handler.callbacks()
        except BaseException as error:
            self._misfit = error
            return
        if callbacks is not None:
            self._counts_first = expects_messages(callbacks)
        self._survives_bad_messages(answer_to_bad_messages(handler, callbacks))
        self._callbacks = callbacks
        self._on_message = handler.for_messages(self, callbacks)
        self._count_from(self._opened_at)

    def _set_callbacks(self, callbacks: Handler[M]) -> None:
        self._callbacks = callbacks
        self._on_message = partial(callbacks.on_message, self)

    def run(self) -> None:
        """Serve until the connection is gone and its handler has ended. Called once, on the thread that is its own."""
        self._thread = get_ident()
        with self._lock:
            if self._opening:
                self.await_layer()
            began = not self._closing  # the server may have stopped since accept(2), or the peer was turned away
            self._works(self._clock.time())
        if began:
            try:
                self._serve()
            except BaseException as error:  # SystemExit too: it ends this connection, not the thread of others
                self._finish(error)
            else:
                self._finish(None)
        with self._lock:
            self.handler_ended = not began or self._callbacks is None
            self._lead(lambda: self._gone)
        self._tell()
        if began and self._callbacks is not None:
            assert self.close_reason is not None
            try:
                self._callbacks.on_close(self, self.close_reason)
            except BaseException as error:
                with self._lock:
                    self._handler_failed(error)
                self._tell()
        self.handler_ended = True
        self._unwatch_input()
        self._callbacks = self._on_message = None  # and with them the cycle through this connection

    # -- outliving its peer --------------------------------------------------------------------------------------------

    def _outlive(self) -> None:
        if not self.handler_ended and not self.is_orphan:
            self._context.orphaned(self)
            self.is_orphan = True  # last: should it fail, this one leaves as any other does

    def handler_place(self) -> str:
        """Say where its handler waits."""
        return place_of_thread(self._thread)

    def cancel_handler(self) -> bool:
        """Return False: nothing ends what a thread does."""
        return False

    def _finish(self, error: BaseException | None) -> None:
        with self._lock:
            self._handling = self._returns = False
            reason, self._close_after = self._close_after, None
            if error is not None:
                self._handler_failed(error)
            elif reason is None and self._may_wait_for_tasks() and self._waits_for_tasks():
                self._lead(lambda: bool(self._closing))
            self._close(reason or (CloseReason.DRAINED if self._draining else CloseReason.DONE))
        self._tell()

    def _may_wait_for_tasks(self) -> bool:
        """Whether it has ended because its peer has, and is no conversation, which decides itself when it returns."""
        return self._input_over and not self._handler.converses and self.close_reason is None

    def _serve(self) -> None:
        if self._misfit is not None:
            raise self._misfit
        if self._handler.converses:
            self._handler.function(self)
            return
        self._returns = True
        if self._callbacks is not None:
            self._call(partial(self._callbacks.on_connect, self))
        while self._serve_messages():
            pass

    def _serve_messages(self) -> bool:
        """Handle what comes, to the end of it; return whether more is to be expected."""
        try:
            while True:
                with self._lock:
                    self._wait_for_its_room()
                    self._fill()
                    if self._closing:
                        return False  # what was ready when the peer was lost has nobody to be answered to
                self._tell()
                self._handle_batch()
        except BadMessagePassedError as passed:
            self._call(partial(self._answer_bad_message, passed.error))
            return True
        except TimeoutPassedError as passed:
            assert self._callbacks is not None
            if passed.which is Timeout.IDLE and self.close_reason is None:
                if self._may_stay(self._callbacks):
                    return True
                with self._lock:
                    self._expires(IDLE, False)
            self._call(partial(self._callbacks.on_timeout, self, passed.which))
            with self._lock:
                self._close(passed.which.value)
        except EndOfStreamError:
            if self._callbacks is not None:
                self._call(partial(self._callbacks.on_eof if self._input_over else self._callbacks.on_drain, self))
        except RemoteProtocolError as error:
            if self._callbacks is not None:
                self._call(partial(self._callbacks.on_protocol_error, self, error))
                with self._lock:
                    self._close(error.reason)
        except (ConnectionEndedError, CodecError):
            pass  # of `_fill`: the input has ended, in whatever way
        return False

    def _may_stay(self, callbacks: Handler[M]) -> bool:
        """Ask about the connection, which is idle; one that has closed meanwhile meets that when it receives."""
        answers: list[object] = []
        self._call(lambda: answers.append(callbacks.on_idle(self)))
        return bool(answers and answers[0]) or self._closing != 0

    # -- calling the handler -------------------------------------------------------------------------------------------

    def _call(self, callback: Callable[[], object]) -> None:
        """Call a callback that is not about a message."""
        self._handling = True
        error: BaseException | None = None
        try:
            callback()
        except BaseException as caught:
            error = caught
        self._called(error)

    def _handle_batch(self) -> None:
        """Call the handler for each message that is ready and send the replies."""
        self._handling = True
        gathered = 1 if self._at_once else GATHERED_REPLIES
        error: BaseException | None = None
        try:
            for message in self._messages():
                assert self._on_message is not None
                reply = self._on_message(message)
                if reply is not None:
                    self._replies.append(reply)
                    if len(self._replies) == gathered:
                        self._send_replies()
                if self._write_paused:  # by what was sent, or by what the handler posted
                    self._wait_for_room_again()
        except BaseException as caught:
            error = caught
        try:
            self._send_replies()
        except BaseException as caught:  # a reply is no message of the codec, or the peer is gone
            error = error or caught
        self._called(error)

    def _wait_for_room_again(self) -> None:
        """Handle no further message while output is over its high watermark."""
        with self._lock:
            self._wait_for_its_room()

    def _wait_for_its_room(self) -> None:
        """Wait until output is no longer over its high watermark, or there is something else to be called."""
        self._lead(lambda: not self._write_paused or bool(self._closing) or self._expired is not None)

    def _messages(self) -> Iterator[M]:
        """Yield what is ready, unless the connection was closed meanwhile."""
        while True:
            with self._lock:
                if self._ready and self._levels.message_step_s and not self._is_told_to_close():
                    self._send_replies()
                    self._await_token()
                if not self._ready or self._is_told_to_close() or self.is_to_be_secured:
                    return
                message = self._ready.popleft()
                self.messages_in += 1
            yield message

    def _called(self, error: BaseException | None) -> None:
        """The handler returned, or raised: do what it asked for."""
        with self._lock:
            self._handling = False
            reason, self._close_after = self._close_after, None
            if self._failure is not None:  # it was the first
                error, self._failure = self._failure, None
            if error is not None:
                self._handler_failed(error)
            elif reason is not None:
                self._close(reason)
            elif self.is_to_be_secured:
                self._secure()
        self._tell()

    def _send_replies(self) -> None:
        """Send the replies that were gathered, in the order of their messages.

        Raises:
            LocalProtocolError, TypeError, CodecError: One is no message of the codec, or the codec failed at it. Those
                before it were sent.
            ConnectionEndedError: There is nobody to send them to.
        """
        if not self._replies:
            return
        replies, self._replies = self._replies, []
        with self._lock:
            if self._closing or self._failure is not None:
                return
            if not self._can_send:
                raise self._why_not()
            send = self._send if self._at_once else self._put
            if self._records or len(replies) == 1:
                for reply in replies:
                    send(self._encode(reply))
                return
            try:
                data = guard.encode_many(self.codec, replies)
            except Exception:
                for reply in replies:
                    send(self._encode(reply))
                raise
            self._messages_out += len(replies) - 1
            send(data)

    # -- what a handler may do in the middle of a batch ----------------------------------------------------------------

    def post(self, message: M, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message; never wait. Safe from every thread."""
        if self._replies:
            self._send_replies_before()
        super().post(message, on_full=on_full, key=key)

    def post_frame(self, frame: bytes, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message that is framed already. Safe from every thread."""
        if self._replies:
            self._send_replies_before()
        super().post_frame(frame, on_full=on_full, key=key)

    def try_send(self, message: M) -> bool:
        """Queue one message if output is not over its high watermark. Safe from every thread."""
        self._send_replies_before()
        return super().try_send(message)

    def send(self, message: M) -> None:
        """Send one message; return when the kernel has taken it."""
        if self._replies:
            self._send_replies_before()
        super().send(message)

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, past the codec; return when the kernel has taken them."""
        if self._replies:
            self._send_replies_before()
        super().send_raw(data)

    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving."""
        if self._replies:
            self._send_replies_before()
        super().send_eof()

    def start_tls(self, tls: Any = None, *, reply: M | None = None) -> None:
        """Speak TLS from now on, or once the handler of the message at hand has returned."""
        if self._replies:
            self._send_replies_before()
        super().start_tls(tls, reply=reply)

    def set_codec(self, codec: Codec[Any]) -> None:
        """Speak another codec, from the message after the one at hand."""
        if self._replies:
            self._send_replies_before()
        super().set_codec(codec)

    def set_handler(self, handler: Handler[Any]) -> None:
        """Hand the messages after the one at hand to another handler."""
        if self._callbacks is None:
            super().set_handler(handler)
        self._set_callbacks(handler)

    def _send_replies_before(self) -> None:
        """What the handler does itself comes after what was returned before; what other threads do comes when it comes.

        That a reply cannot be sent is no matter of the handler at work, which was called for a later message: it finds
        the connection closing. It is reported when that handler has returned, and no further one is called.
        """
        if get_ident() != self._thread:
            return
        try:
            self._send_replies()
        except BaseException as error:
            if is_interrupt(error):
                raise
            with self._lock:
                self._failure = error
                self._close(reason_after(error))

    def _timed_out(self, which: Timeout) -> bool:
        if self._callbacks is None or not self._returns:
            return False
        self._expired = which  # its own thread calls on_timeout once it waits: callbacks never overlap
        self._news = True
        self._wake()
        self._changed.notify_all()
        return True
