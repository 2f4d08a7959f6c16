"""TLS between a link and its user: what the user sends is enciphered, what the link reads is deciphered.

`core.law.tls` says what the ends of the two streams mean; a `Session` does the rest. Bytes of the handshake are never
the user's, and none of its own is handed to it before the handshake is done.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final

from ...core.law.tls import (
    CUT,
    END_OUTPUT,
    FAIL,
    NOTIFY,
    OPEN,
    SHAKING,
    TELL_EOF,
    Secrecy,
)
from ...core.tls import TlsInfo
from ...errors import HandshakeError, TlsError
from ...reasons import CloseReason
from ..link import Layer, Link, LinkUser
from .failures import BARREN, LEFT, TRUNCATED, UNSENT, failure_of, not_tls
from .session import MemorySession, Session, Wrap, info_of, session_for
from .shown import SHOWN


class NoLink(Link):
    """What is under a layer whose link is gone: nothing."""

    __slots__ = ()

    queued_bytes = 0
    socket = None

    def hand_to(self, user: LinkUser) -> None:
        """Nothing."""

    def send(self, data: bytes) -> int:
        """Send nothing."""
        return 0

    def pause_reading(self) -> None:
        """Nothing."""

    def resume_reading(self) -> None:
        """Nothing."""

    def send_eof(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

    def abort(self) -> None:
        """Nothing."""


NO_LINK: Final = NoLink()

# Whether each record that was made has been given to the link; or a call between the two has failed, and it is not
# known yet whether it came to a record; or a record is missing.
_WHOLE, _IN_DOUBT, _TORN = 0, 1, 2


class TlsLayer(Layer):
    """One end of one TLS connection.

    Args:
        user: What is over it.
        wrap: Makes its `ssl.SSLObject`.
        ready: Called once with None when the handshake is done, or with why there will be no connection.
        judge: Says why a peer is refused whom `ssl` has accepted; None where it is not.
        keeps: Called when there may be a session that a later connection can go on with, which with TLS 1.3 comes after
            the handshake; says whether there was one. None at a server.
        in_memory: Leave all to `ssl`, though the engine could do some of it itself.
    """

    __slots__ = (
        "_ended",
        "_heard_bytes",
        "_judge",
        "_keeps",
        "_kept",
        "_law",
        "_offers",
        "_ready",
        "_session",
        "_stream",
        "tls",
    )

    def __init__(
        self,
        user: LinkUser,
        wrap: Wrap,
        ready: Callable[[TlsError | None], object] | None = None,
        judge: Callable[[ssl.SSLObject], TlsError | None] | None = None,
        keeps: Callable[[ssl.SSLObject], bool] | None = None,
        *,
        in_memory: bool = False,
    ) -> None:
        super().__init__(user)
        self._session: Session | None = MemorySession(wrap) if in_memory else session_for(user, wrap)
        self._heard_bytes = 0
        self._stream = _WHOLE
        self._ended = False  # the link's direction: a close_notify that was not given to it by then is not sent at all
        self._kept = b""  # what is to be sent once the handshake is done
        self._law = Secrecy()
        self._ready = ready
        self._judge = judge
        self._keeps = keeps
        self._offers = keeps is not None  # a session may come, in front of what is the user's
        self.tls: TlsInfo | None = None

    # -- what the link under it tells ----------------------------------------------------------------------------------

    def connection_made(self, link: Link) -> None:
        """Begin the handshake."""
        self._link = link
        self._user.layer_begins(self)
        if self._law.state == SHAKING:
            link.take_turns(wanted=True)
            link.resume_reading()
            if not self._in_use().object.server_side:  # a server has nothing to say before the client has
                self._shake()

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or decipher."""
        self._heard_bytes += len(data)
        if self._stream and self._is_torn():
            return
        law = self._law
        if law.state == SHAKING:
            if not law.hears(data):
                self._fail(not_tls(data))
                return
            self._in_use().feed(data)
            self._shake()
        elif law.may_read:
            self._in_use().feed(data)
            self._decipher(len(data))

    def eof_received(self) -> object:
        """Say what the end of the transport means."""
        verdict = self._law.reaches_eof()
        if verdict & FAIL:
            self._tell_failed(TlsError(self._law.reason or CloseReason.TLS_HANDSHAKE, LEFT))
        if verdict & CUT:
            self._user.input_cut(TlsError(CloseReason.TLS_TRUNCATED, TRUNCATED))
        if verdict & TELL_EOF and self._user is not None:
            self._user.eof_received()
        return True

    def connection_lost(self, error: BaseException | None) -> None:
        """Hand on the end; what was agreed can still be asked for."""
        was_shaking = self._law.state == SHAKING
        if self._law.state == OPEN:
            self._offer_session()
        self._law.is_over()
        self._session = None
        self._kept = b""
        self._link = NO_LINK
        if was_shaking:
            problem = LEFT if error is None else getattr(error, "strerror", None) or str(error)
            self._be_ready(TlsError(CloseReason.TLS_HANDSHAKE, problem))
        super().connection_lost(error)

    def layer_begins(self, link: Link) -> None:
        """What is under it needs the peer first, who may send a whole ClientHello with what that needs."""
        link.take_turns(wanted=True)
        super().layer_begins(link)

    def layer_begun(self) -> None:
        """What is under it has begun: its own handshake follows, and its user waits for both."""

    def layer_failed(self, error: HandshakeError) -> None:
        """There will be no handshake: what is under it has failed."""
        self._law.fails(error.reason)
        self._session = None
        self._kept = b""
        self._link.take_turns(wanted=False)
        self._be_ready(TlsError(error.reason, error.problem))
        self._user.layer_failed(error)

    # -- the handshake -------------------------------------------------------------------------------------------------

    def _in_use(self) -> Session:
        session = self._session
        assert session is not None
        return session

    def _shake(self) -> None:
        session = self._in_use()
        try:
            session.object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, OSError) as error:
            self._flush()  # the alert that says why
            self._fail(failure_of(error, shaking=True, shown=getattr(session.object, SHOWN, None)))
            return
        refusal = None if self._judge is None else self._judge(session.object)
        if refusal is not None:
            session.notify()
            self._flush()
            self._fail(refusal)
            return
        self._law.is_done()
        self._link.take_turns(wanted=False)
        by_itself = self._let_begin()
        if not (by_itself and session.has_input):  # else this goes with what is answered
            self._flush()
            if self._law.state != OPEN:  # the kernel said just now that nobody is there
                return
        self.tls = info_of(session.object)
        user = self._user
        if self._kept:
            kept, self._kept = self._kept, b""
            self.send(kept)
            user.output_sank()
        self._end_output(self._law.goes_on())
        user.layer_begun()
        user.connection_made(self)
        self._be_ready(None)
        if self._law.may_read and session.has_input:
            if by_itself:
                session.hands_on()
            else:
                self._decipher()
        if session.has_output:
            self._flush()

    def _let_begin(self) -> bool:
        """Let the session pass records by itself, if nothing is to be done with each any more; say whether it does."""
        if self._offers or self._law.state != OPEN or self._user is None or self._stream:
            return False
        return self._in_use().begins(self, self._link)

    def give_up(self, error: TlsError) -> None:
        """Fail at the handshake."""
        self._fail(error)

    def _fail(self, error: TlsError) -> None:
        self._law.fails(error.reason)
        self._tell_failed(error)

    def _tell_failed(self, error: TlsError) -> None:
        self._session = None
        self._kept = b""
        user = self._user
        self._link.take_turns(wanted=False)
        self._be_ready(error)
        if user is not None:
            user.layer_failed(error)

    def _offer_session(self) -> None:
        """Have the session kept that a later connection may go on with, if there is one and that was not done."""
        if self._keeps is None:
            return
        try:
            if self._keeps(self._in_use().object):
                self._keeps = None
        except Exception:
            self._keeps = None  # the next handshake is done in full; what is read and the end of this one go on

    def _be_ready(self, error: TlsError | None) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready(error)

    # -- in ------------------------------------------------------------------------------------------------------------

    def _decipher(self, heard_bytes: int = 0) -> None:
        """Hand on what is whole of what was read, and of what was read just now, which has so many bytes."""
        session = self._in_use()
        data, ended, error = session.decipher()
        had_offered = not self._offers  # what is offered just now may be followed by more in the same read
        if self._offers:  # until something of the user's comes: a session comes before that, maybe in parts
            self._offer_session()
            self._offers = self._keeps is not None and not data
        if session.has_output:  # the answer to a change of keys, or an alert
            self._user.output_rose(self._flush())
        user = self._user
        if data and user is not None:
            user.data_received(data)
        if ended or error is not None:
            self.input_over(error)
        else:
            self.heard(heard_bytes, brings_something=bool(data))
            if not had_offered:
                self._let_begin()

    def heard(self, heard_bytes: int, *, brings_something: bool) -> None:
        """Count bytes read, with or without some of the user's; cut off a peer that makes work and sends nothing."""
        if self._law.goes_too_far(heard_bytes, brings_something=brings_something) and self._user is not None:
            self._user.connection_broke(TlsError(CloseReason.TLS_ERROR, BARREN))
            self._link.abort()

    def input_over(self, error: Exception | None) -> None:
        """Nothing more is deciphered: the peer's close_notify came, or what came is broken, and ``error`` says how."""
        if self._user is None:
            return
        if error is not None:
            self.broke(error)
        elif self._law.is_notified() & TELL_EOF:
            self._link.pause_reading()  # after the peer's word of its end, nothing that comes has any meaning
            self._user.eof_received()

    def broke(self, error: Exception) -> None:
        """The cipher cannot go on: end the connection."""
        if self._user is not None:
            self._user.connection_broke(failure_of(error, shaking=False))
            self._link.abort()

    @property
    def heard_bytes(self) -> int:
        """How many bytes came, of records that may not be whole."""
        return self._heard_bytes + self._link.heard_bytes

    def pause_reading(self) -> None:
        """Have the link read no further; in the handshake it reads on, and its user says so again once that is done."""
        if self._law.state != SHAKING:
            self._link.pause_reading()

    def resume_reading(self) -> None:
        """Have the link read again, if anything may come."""
        if self._law.may_read:
            self._link.resume_reading()

    # -- out -----------------------------------------------------------------------------------------------------------

    @property
    def queued_bytes(self) -> int:
        """How many bytes the link under it keeps, or wait for the handshake."""
        return self._link.queued_bytes + len(self._kept)

    def send(self, data: bytes) -> int:
        """Encipher and send; in the handshake, keep it until that is done."""
        if not self._law.may_send or not data:
            if self._law.state == SHAKING and data:
                self._kept += data
                self._user.output_rose(self.queued_bytes)
            return self.queued_bytes
        if self._stream and self._is_torn():
            return 0
        try:
            self._in_use().encipher(data)
            return self._flush()
        except (ssl.SSLError, OSError) as error:
            self.broke(error)
            return 0
        except BaseException:
            self._stream = self._stream or _IN_DOUBT  # no call: at the limit of recursion that would fail as well
            self._is_torn()
            raise

    def _flush(self) -> int:
        """Send what was enciphered."""
        data = b"" if self._session is None else self._session.take()
        if not data or self._ended:
            return self._link.queued_bytes
        try:
            return self._link.send(data)
        except BaseException:
            self._stream = _TORN
            raise

    def _is_torn(self) -> bool:
        """End the connection if a record is missing, which its sender was told is not sent; say whether that is so.

        Sent later it would be a message that nobody answers for, and without it none that follows can be deciphered.
        Where there is no stack or memory for the end either, whatever is called next makes it.
        """
        if self._stream == _IN_DOUBT and (self._session is None or not self._session.has_output):
            self._stream = _WHOLE
            return False
        self._stream = _TORN
        if self._user is not None:
            self._user.connection_broke(TlsError(CloseReason.TLS_ERROR, UNSENT))
            self._link.abort()
        return True

    def output_sank(self) -> None:
        """Hand on that the kernel took some."""
        if not (self._stream and self._is_torn()):
            self._user.output_sank()

    def send_now(self) -> None:
        """Have the link send now."""
        if not (self._stream and self._is_torn()):
            self._link.send_now()

    def send_eof(self) -> None:
        """Send close_notify, then end the link's direction."""
        self._end_output(self._law.ends_output())

    def _end_output(self, verdict: int) -> None:
        try:
            if verdict & NOTIFY:
                self._notify()
        finally:  # an end that was begun is carried out, be it without its close_notify
            if verdict & END_OUTPUT:
                self._ended = True
                self._link.send_eof()

    def close(self) -> None:
        """Send close_notify, unless that was done; then close the link."""
        try:
            if self._law.ends_output() & NOTIFY:
                self._notify()
        finally:
            self._ended = True
            self._link.close()

    def _notify(self) -> None:
        if self._stream and self._is_torn():
            return
        self._in_use().notify()
        self._flush()
