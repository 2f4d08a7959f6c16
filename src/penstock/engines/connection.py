"""A connection on a link, from its first byte to its last. How its handler is called is a driver's."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from ..address import Address, Peer
from ..codecs.base import Codec
from ..config import Action
from ..core.contract import TimerHandle
from ..core.endings import reason_after, reason_of
from ..core.events import BadMessage, Closed, FramesSkipped, HandshakeFailed, not_decoded, not_handled
from ..core.foreign import note_foreign
from ..core.handlers import Handler, OnBadMessage
from ..core.inbound import StreamInbound
from ..core.law.closing import CLOSED, CLOSING, DISCARD, END, INPUT_OVER, RESET, SEND_EOF, STATES
from ..core.law.deadlines import IDLE, OF_LAYER
from ..core.requests import Reply, Requests, refuse_owed, requests_of
from ..core.texts import detail_of
from ..core.tls import TlsInfo
from ..errors import CodecError, HandshakeError, LocalProtocolError, RemoteProtocolError, TlsError
from ..reasons import CloseReason, Refusal
from .context import Context
from .link import Layer, LayerMaker, Link, LinkUser
from .requests import put_request, request_of
from .timing import TimedConnection
from .wire import next_connection_id, reset_on_close

if TYPE_CHECKING:
    from ..core.proxy import ProxyHeader

M = TypeVar("M")


INJECTED: Final = "bytes came in clear after the message that was to be the last one in clear"


class LinkedConnection(TimedConnection[M], Generic[M]):
    """The part every connection on a link shares. Subclasses say what happens to messages, by the abstract methods.

    Args:
        context: Who made it.
        codec: What cuts its stream into messages.
        peer: Who is at the other end.
        local: The address at this end.
        records: Its link carries records, not bytes.
    """

    __slots__ = (
        "_draining",
        "_local",
        "_on_bad_message",
        "_opening",
        "_peer",
        "_reading_suspended",
        "_upgrade",
        "bytes_in",
        "id",
        "messages_in",
        "state",
    )

    def __init__(self, context: Context, codec: Codec[M], peer: Peer, local: Address, *, records: bool = False) -> None:
        super().__init__(context, codec, records=records)
        self.id = next_connection_id()
        self.state: Any = None
        self.bytes_in = self.messages_in = 0
        self._peer = peer
        self._local = local
        self._on_bad_message: OnBadMessage = "close"
        self._watch_input()
        self._draining = False
        self._opening = False  # a layer over its link needs the peer before it can be used
        self._reading_suspended = False  # memory is short, and what is held here must not grow
        # What makes the TLS layer that is to begin; True while it shakes hands; None before and after.
        self._upgrade: LayerMaker | bool | None = None

    def __repr__(self) -> str:
        return f"<connection {self.id} {self._peer} {STATES[self._state].value}>"

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._peer

    @property
    def local(self) -> Address:
        """The address at this end."""
        return self._local

    @property
    def draining(self) -> bool:
        """Whether the server drains."""
        return self._draining

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _input_ended(self) -> None:
        """The peer sent EOF."""

    @abstractmethod
    def _resume_reading(self) -> None:
        """Have the link read again, unless something keeps it from that."""

    # -- what the link tells -------------------------------------------------------------------------------------------

    def eof_received(self) -> bool:
        """Note the end of the peer's direction; ours stays open until the handler ends it."""
        verdict = self._got_eof()
        if verdict == END:
            self._link.close()  # sends what is left, if anything; connection_lost follows
        elif verdict == INPUT_OVER:
            self._arm(self._peer_ended(self._clock.time()))
            self._inbound.end_requests("the peer sent EOF")
            self._input_ended()
        return True

    def connection_broke(self, error: BaseException) -> None:
        """Send nothing more: the link has met its loss, and will tell `connection_lost` soon."""
        self._breaks(reason_of(error))

    def _drop_output(self) -> None:
        """The state is closed: let go of everything that waits. What was received before is still handled."""
        self._messages_out += len(self._corked)
        self._corked.clear()
        self._corked_bytes = 0
        self._forgets_output()
        self._disarm()
        self._inbound.end_requests()
        self._end_place()
        self._owe(0)

    # -- requests to the peer ------------------------------------------------------------------------------------------

    @abstractmethod
    def new_reply(self) -> Any:
        """Return what waits for a reply: a future of whoever awaits it."""

    @abstractmethod
    def time_reply(self, reply: Reply, timeout_s: float | None) -> TimerHandle | None:
        """Have the reply given up after that time, when what has come by then was read: law 11."""

    async def request(self, message: M, timeout_s: float | None = None) -> M:
        """Send one message; return the reply to it."""
        return await request_of(self, message, timeout_s)

    def put_request(self, message: M, reply: Reply) -> None:
        """Send a request, and note who waits for its reply."""
        put_request(self, message, reply)

    def hears(self) -> bool:
        """Whether what the peer sends from now on is read."""
        return bool(self._can_receive) and not self._draining

    def take_requests(self) -> Requests[M]:
        """Have the replies to what is sent from now on taken out of the input."""
        requests = requests_of(self._inbound, self.codec, self._has_reply)
        if not requests and requests.in_order:
            self._uncut()
        return requests

    def find_replies(self) -> None:
        """Look for them among what was received before."""
        self._inbound.find_replies()

    def listens(self) -> None:
        """Read on, if nothing else but what waits to be received has stopped that."""

    def _uncut(self) -> None:
        """Have cut again what was cut ahead: it is no more than bytes of the input."""

    # -- what a layer over the link tells ------------------------------------------------------------------------------

    @property
    def tls(self) -> TlsInfo | None:
        """What was agreed in the TLS handshake; None without TLS."""
        link = getattr(self, "_link", None)
        return None if link is None else link.tls

    def layer_begins(self, link: Link) -> None:
        """Wait for the layer, no longer than a handshake may take; a client's user has a deadline of its own."""
        self._link = link
        self._opening = True
        if self._state == CLOSED:  # it was aborted between accept(2) and now
            self._reset()
        elif self._context.gate is not None:
            self._begin_handshake_of(OF_LAYER)

    def layer_begun(self) -> None:
        """Go on: the peer has shown the layer who it is; what its handler still wants to know goes on."""
        self._opening = False
        if self._context.gate is not None:
            self._end_handshake_of(OF_LAYER)

    def layer_failed(self, error: HandshakeError) -> None:
        """Close without having begun. A client's user is told by what it waits for."""
        if error.refusal is not None:
            self._refuse(error.refusal)
            return
        self._opening = False
        if self._upgrade is not None:
            self._upgrade = None
            self._cannot_go_on(error)
        elif self._context.gate is None:
            self.connection_broke(error)
            self._link.close()
        else:
            self._emit(HandshakeFailed(self, error))
            self._turn_away(error.reason)

    def introduced(self, header: ProxyHeader) -> Refusal | None:
        """Be the connection of whom its proxy speaks for."""
        gate = self._context.gate
        assert gate is not None, "a client has no proxies"
        self._peer, refusal = header.introduce(gate, self._peer, self._clock.time())
        return refusal

    def _refuse(self, refusal: Refusal) -> None:
        """Turn away whom a proxy speaks for, as one is turned away who comes by himself."""
        gate = self._context.gate
        assert gate is not None, "a client has no gate"
        from ..core.events.servers import refused_at  # noqa: PLC0415 - a client refuses nobody

        self._emit(refused_at(refusal, self._peer, self._local))
        if gate.rules.action(refusal) is Action.RESET:
            self._lose(CloseReason.REFUSED)
            return
        self._opening = False
        if gate.rules.text:
            self._link.send(gate.rules.text)
        self._turn_away(CloseReason.REFUSED)

    @abstractmethod
    def _turn_away(self, reason: CloseReason) -> None:
        """Close gracefully before the handler is told of anything."""

    # -- TLS on an open connection -------------------------------------------------------------------------------------

    def start_tls(self, tls: Any = None, *, reply: M | None = None) -> None:
        """Speak TLS from now on, or once the handler of the message at hand has returned."""
        maker = self._secured_by(tls)
        if reply is not None:
            self.post(reply)
        self._upgrade = maker
        if not self._handling:
            self._secure()

    def _secured_by(self, tls: Any) -> LayerMaker:
        if self._records:
            raise LocalProtocolError("TLS needs a stream, and this connection carries records")
        if self._upgrade is not None or self.tls is not None:
            raise LocalProtocolError("TLS has begun already")
        refuse_owed(self._inbound.requests)
        if self._context.secure is None:
            raise LocalProtocolError("this connection was not made to speak TLS later")
        if not self._can_send or self._close_after is not None:
            raise self._why_not()
        if self._opening or not self._attached:
            raise LocalProtocolError("TLS cannot begin before the connection has")
        return self._context.secure(tls)

    @property
    def is_to_be_secured(self) -> bool:
        """Whether TLS begins once the handler of the message at hand has returned."""
        return self._upgrade is not None and self._upgrade is not True

    def _secure(self) -> None:
        """Put the layer between link and connection: what was sent before leaves in clear, nothing after it does."""
        maker, self._upgrade = self._upgrade, None
        if self._closing or not self._can_send or not callable(maker):
            return
        if self._holds_input():
            self._refuse_clear()
            return
        self._send_all()
        if self._state == CLOSED:  # the kernel said just now that nobody is there
            return
        self._upgrade = True
        link = self._link
        try:
            layer = maker(cast("LinkUser", self))
            self._put_on(link, layer)
            layer.connection_made(link)
        except BaseException:  # whoever goes on after that would send in clear what was to be ciphered
            try:
                self._lose(CloseReason.TLS_HANDSHAKE)
            finally:
                link.abort()
            raise

    def _refuse_clear(self) -> None:
        """Close: what came in clear was behind the last message in clear, be it that a layer under TLS had kept it."""
        error = TlsError(CloseReason.TLS_INJECTED, INJECTED)
        if self._upgrade is True:
            cast("Layer", self._link).give_up(error)  # else the end of our output would wait for its handshake
        else:
            self._upgrade = None
            self._cannot_go_on(error)

    def _holds_input(self) -> bool:
        """Whether something came that no message at hand was made of."""
        return bool(self._inbound.pending_bytes)

    def _put_on(self, link: Link, layer: Layer) -> None:
        link.hand_to(layer)

    def _is_secured(self) -> None:
        """The handshake is done."""
        self._upgrade = None
        self._opening = False
        self._wake_senders()

    def _cannot_go_on(self, error: HandshakeError) -> None:
        """There is no TLS where there was to be: end what has begun in clear."""
        if self._context.gate is None:
            self.connection_broke(error)
            self._link.close()
        else:
            self._emit(HandshakeFailed(self, error))
            self._close(error.reason)
        self._wake_senders()

    def output_rose(self, queued_bytes: int) -> None:
        """Count what a layer has sent by itself: a peer that does not read it is a slow one, too."""
        if queued_bytes and self._attached and self._state != CLOSED:
            self._output_queued(queued_bytes)

    def input_cut(self, error: BaseException) -> None:
        """Break: what came may not be all. Where nothing more was expected it is as good as an end."""
        if self._closing:
            self.eof_received()
        else:
            self.connection_broke(error)
            self._link.abort()

    # -- closing -------------------------------------------------------------------------------------------------------

    def close(self, *, detail: str = "") -> None:
        """Flush what was queued, send EOF, then end the connection."""
        if detail:
            self._closes_because(detail_of(detail))
        self._close(CloseReason.DONE)

    def abort(self) -> None:
        """End the connection now."""
        self._lose(CloseReason.ABORTED)

    def cut(self, reason: CloseReason) -> None:
        """End the connection now, for a reason of the server's."""
        self._lose(reason)

    def task_begun(self) -> None:
        """A background task begins whose work the peer is owed."""
        self._begins_task()

    def task_over(self) -> None:
        """It has ended: close, if that was all there was to wait for."""
        if self._ends_task():
            self._close(CloseReason.PEER_CLOSED)

    def _close(self, reason: CloseReason) -> None:
        """Close gracefully; the first reason given is the one that stays."""
        verdict = self._closes(reason)
        if not verdict:
            return
        self._end_place()
        self._send_all()
        if self._state == CLOSED:  # the kernel said just now that nobody is there
            return
        self._reading_suspended = False  # what still comes is dropped
        self._inbound.clear()
        self._wake_senders()
        link = self._link
        link.watch(0, 0)
        if verdict & SEND_EOF:
            link.send_eof()
        if verdict & DISCARD:
            self._resume_reading()
        if link.queued_bytes:
            self._stall_begins()
        if verdict & END:
            link.close()
        elif not link.queued_bytes:
            self._all_sent()

    def _all_sent(self) -> None:
        """The kernel took all: wait for the peer's EOF, unless it came before."""
        self._wake_senders()
        if self._state == CLOSING:
            self._sent_all_at(self._clock.time())
            self._arm_next()

    def _lose(self, reason: CloseReason) -> None:
        """End now. The link tells `connection_lost` a little later."""
        if self._state == CLOSED:
            return
        verdict = self._loses(reason)
        self._inbound.clear()
        self._drop_output()
        if verdict == RESET or self._opening:
            self._reset()

    def _reset(self) -> None:
        """Close the link, and tell the peer with a reset, so that a cut is never taken for an end."""
        sock = self._link.socket
        if sock is not None:
            reset_on_close(sock)
        self._link.abort()

    def _break_off(self, error: RemoteProtocolError | CodecError) -> None:
        """The framing is broken, by the peer or by the codec: what was answered before still goes out."""
        if not self.messages_in:
            note_foreign(error, self._inbound.first_bytes)
        self._emit(not_decoded(self, error))
        if isinstance(error, RemoteProtocolError) and self._has_last_word():
            self._refuses(error.reason, self._clock.time())
            self._inbound.clear()
            self._arm_next()
        else:
            self._close(error.reason)

    def _survives_bad_messages(self, answer: OnBadMessage) -> None:
        """Have messages that cannot be decoded passed over, where their ends are known. Before the first byte."""
        self._on_bad_message = answer
        if answer != "close" and isinstance(self._inbound, StreamInbound):
            self._inbound = StreamInbound(self.codec, skips_bad=True)
            self._watch_input()

    def _passes_over(self, error: RemoteProtocolError | CodecError) -> bool:
        """Go on after a message that cannot be decoded, if that is wanted and possible; it counts as one that came."""
        if self._on_bad_message == "close" or not isinstance(error, RemoteProtocolError):
            return False
        if not self._inbound.pass_over(error):
            return False
        now = self._clock.time()
        if self._levels.message_step_s and self._allows(1, now) < 0:
            self._close(CloseReason.MESSAGE_RATE)
        else:
            self._spends(1, now)
            self._emit(BadMessage(self, error))
        return True

    def _answer_bad_message(self, error: RemoteProtocolError | CodecError) -> None:
        """Call who is to be told of a message that was passed over, and post the answer."""
        if callable(self._on_bad_message) and isinstance(error, RemoteProtocolError) and not self._closing:
            answer = self._on_bad_message(self, error)
            if answer is not None:
                self.post(answer)

    def _has_last_word(self) -> bool:
        """Return whether its handler is told that the framing is broken, and closes it by coming to its end."""
        return False

    def _handler_failed(self, error: BaseException) -> None:
        """Report a handler's exception once, and end this connection alone."""
        if self._fails(error):
            self._emit(not_handled(self, error))
            self._close(reason_after(error))

    def _watch_input(self) -> None:
        """There is a codec, or another one: have the frames counted that it passes over, and silence as it wants it."""
        inbound = self._inbound
        if inbound.codec.on_oversize == "skip" and isinstance(inbound, StreamInbound):
            inbound.on_skipped = self._frames_skipped
        quiet_s = inbound.quiet_s
        if quiet_s is not None or self._rare is not None:
            self._listens_for(quiet_s)
        if quiet_s is not None and inbound.pending_bytes:
            self._arm(self._hears(self._clock.time(), inbound.pending_bytes))

    def _unwatch_input(self) -> None:
        """Nothing more is cut: break the cycle through what counts the frames that are passed over."""
        if isinstance(self._inbound, StreamInbound):
            self._inbound.on_skipped = None

    def _frames_skipped(self, count: int) -> None:
        self._emit(FramesSkipped(self, count))

    def closed_event(self) -> Closed:
        """Return the event that tells of its end."""
        duration_s = self._clock.time() - self._opened_at
        return Closed(self, self.close_reason, self.bytes_in, self.bytes_out, duration_s, self._detail())

    def set_handler(self, handler: Handler[Any]) -> None:
        """Refuse: only callbacks can be exchanged."""
        raise LocalProtocolError("the handler of this connection is a function: it decides itself what to call next")

    # -- when memory is short ------------------------------------------------------------------------------------------

    @property
    def held_bytes(self) -> int:
        """How many bytes this process holds for the connection: received and not handled, sent and not taken."""
        if not self._attached or self._gone:
            return 0
        return self._inbound.pending_bytes + self.queued_bytes

    def close_if_idle(self, share: float) -> None:
        """Close as at the idle deadline, when that ``share`` of the idle timeout has passed."""
        if not self._closing and self._clock.time() - self._idle_since >= self._durations.idle_s * share:
            self._expire(IDLE)
