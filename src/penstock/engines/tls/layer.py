"""TLS between a link and its user: what the user sends is enciphered, what the link reads is deciphered.

`core.law.tls` says what the ends of the two streams mean; `ssl` does the rest, between two buffers in memory. Bytes
of the handshake are never the user's, and none of its own is handed to it before the handshake is done.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final

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
from ...core.x509 import Certificate, NotACertificateError, certificate_of
from ...errors import HandshakeError, TlsError
from ...reasons import CloseReason
from ..link import Layer, Link, LinkUser
from .failures import LEFT, TRUNCATED, failure_of, not_tls
from .shown import SHOWN

# The most that one record holds (RFC 8446 section 5.1): asking for more gives no more.
RECORD_BYTES: Final = 16384

# `_ssl.ENCODING_DER`.
_DER: Final = 2

# Makes the `ssl.SSLObject` of one connection, of what is read and of what is to be sent.
SessionMaker = Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject]


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


class TlsLayer(Layer):
    """One end of one TLS connection.

    Args:
        user: What is over it.
        session: Makes its `ssl.SSLObject`.
        ready: Called once with None when the handshake is done, or with why there will be no connection.
        judge: Says why a peer is refused whom `ssl` has accepted; None where it is not.
    """

    __slots__ = (
        "_heard_bytes",
        "_incoming",
        "_judge",
        "_kept",
        "_law",
        "_outgoing",
        "_ready",
        "_session",
        "tls",
    )

    def __init__(
        self,
        user: LinkUser,
        session: SessionMaker,
        ready: Callable[[TlsError | None], object] | None = None,
        judge: Callable[[ssl.SSLObject], TlsError | None] | None = None,
    ) -> None:
        super().__init__(user)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session: ssl.SSLObject | None = session(self._incoming, self._outgoing)
        self._heard_bytes = 0
        self._kept = b""  # what is to be sent once the handshake is done
        self._law = Secrecy()
        self._ready = ready
        self._judge = judge
        self.tls: TlsInfo | None = None

    # -- what the link under it tells ----------------------------------------------------------------------------------

    def connection_made(self, link: Link) -> None:
        """Begin the handshake."""
        self._link = link
        self._user.layer_begins(self)
        if self._law.state == SHAKING:
            link.resume_reading()
            self._shake()

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or decipher."""
        self._heard_bytes += len(data)
        law = self._law
        if law.state == SHAKING:
            if not law.hears(data):
                self._fail(not_tls(data))
                return
            self._incoming.write(data)
            self._shake()
        elif law.may_read:
            self._incoming.write(data)
            self._decipher()

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
        self._law.is_over()
        self._session = None
        self._kept = b""
        self._link = NO_LINK
        if was_shaking:
            problem = LEFT if error is None else getattr(error, "strerror", None) or str(error)
            self._be_ready(TlsError(CloseReason.TLS_HANDSHAKE, problem))
        super().connection_lost(error)

    def layer_begun(self) -> None:
        """What is under it has begun: its own handshake follows, and its user waits for both."""

    def layer_failed(self, error: HandshakeError) -> None:
        """There will be no handshake: what is under it has failed."""
        self._law.fails(error.reason)
        self._session = None
        self._kept = b""
        self._be_ready(TlsError(error.reason, error.problem))
        self._user.layer_failed(error)

    # -- the handshake -------------------------------------------------------------------------------------------------

    def _shake(self) -> None:
        session = self._session
        assert session is not None
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, OSError) as error:
            self._flush()  # the alert that says why
            self._fail(failure_of(error, shaking=True, shown=getattr(session, SHOWN, None)))
            return
        refusal = None if self._judge is None else self._judge(session)
        if refusal is not None:
            _close(session)
            self._flush()
            self._fail(refusal)
            return
        self._law.is_done()
        self._flush()
        if self._law.state != OPEN:  # the kernel said just now that nobody is there
            return
        self.tls = info_of(session)
        user = self._user
        if self._kept:
            kept, self._kept = self._kept, b""
            self.send(kept)
            user.output_sank()
        self._end_output(self._law.goes_on())
        user.layer_begun()
        user.connection_made(self)
        self._be_ready(None)
        if self._law.may_read and self._incoming.pending:
            self._decipher()

    def _fail(self, error: TlsError) -> None:
        self._law.fails(error.reason)
        self._tell_failed(error)

    def _tell_failed(self, error: TlsError) -> None:
        self._session = None
        self._kept = b""
        user = self._user
        self._be_ready(error)
        if user is not None:
            user.layer_failed(error)

    def _be_ready(self, error: TlsError | None) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready(error)

    # -- in ------------------------------------------------------------------------------------------------------------

    def _decipher(self) -> None:
        """Hand on what is whole of what was read."""
        session, incoming = self._session, self._incoming
        assert session is not None
        found: list[bytes] = []
        broken: Exception | None = None
        ended = False
        try:
            while incoming.pending:
                data = session.read(RECORD_BYTES)
                if not data:
                    ended = True
                    break
                found.append(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except (ssl.SSLError, OSError) as error:
            broken = error
        if self._outgoing.pending:  # the answer to a change of keys, or an alert
            self._user.output_rose(self._flush())
        user = self._user
        if found and user is not None:
            user.data_received(found[0] if len(found) == 1 else b"".join(found))
        if ended:
            if self._law.is_notified() & TELL_EOF and self._user is not None:
                self._link.pause_reading()  # after the peer's word of its end, nothing that comes has any meaning
                self._user.eof_received()
        elif broken is not None and self._user is not None:
            self._user.connection_broke(failure_of(broken, shaking=False))
            self._link.abort()

    @property
    def heard_bytes(self) -> int:
        """How many bytes came, of records that may not be whole."""
        return self._heard_bytes + self._link.heard_bytes

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
        session = self._session
        assert session is not None
        try:
            sent = session.write(data)
            if sent < len(data):
                rest = memoryview(data)
                while sent < len(data):
                    sent += session.write(rest[sent:])
        except (ssl.SSLError, OSError) as error:
            self._user.connection_broke(failure_of(error, shaking=False))
            self._link.abort()
            return 0
        return self._flush()

    def _flush(self) -> int:
        data = self._outgoing.read()
        return self._link.send(data) if data else self._link.queued_bytes

    def send_eof(self) -> None:
        """Send close_notify, then end the link's direction."""
        self._end_output(self._law.ends_output())

    def _end_output(self, verdict: int) -> None:
        if verdict & NOTIFY:
            self._notify()
        if verdict & END_OUTPUT:
            self._link.send_eof()

    def close(self) -> None:
        """Send close_notify, unless that was done; then close the link."""
        if self._law.ends_output() & NOTIFY:
            self._notify()
        self._link.close()

    def _notify(self) -> None:
        session = self._session
        assert session is not None
        _close(session)
        self._flush()


def _close(session: ssl.SSLObject) -> None:
    """Have close_notify sent."""
    with contextlib.suppress(ssl.SSLError, OSError):
        session.unwrap()  # looks whether the peer's is there, too: that comes by `data_received`


def info_of(session: ssl.SSLObject) -> TlsInfo:
    """Return what was agreed in a handshake."""
    cipher: Any = session.cipher() or ("", "", 0)
    der = session.getpeercert(binary_form=True)
    certificate: Certificate | None = None
    if der is not None:
        try:
            certificate = certificate_of(der)
        except NotACertificateError:  # OpenSSL reads what we do not: it stays what it is, and says nothing
            certificate = None
    return TlsInfo(
        version=session.version() or "",
        cipher=cipher[0],
        bits=cipher[2],
        alpn=session.selected_alpn_protocol(),
        server_name=getattr(session, "penstock_name", None) or session.server_hostname,
        certificate=certificate,
        resumed=bool(session.session_reused),
        chain_der=() if session.server_side else _chain_of(session),
    )


def _chain_of(session: ssl.SSLObject) -> tuple[bytes, ...]:
    """Return what the peer has sent, its own certificate first."""
    ask = getattr(session, "get_unverified_chain", None)
    if ask is not None:  # Python 3.13
        return tuple(ask())
    ask = getattr(getattr(session, "_sslobj", None), "get_unverified_chain", None)  # there since 3.10, without a name
    return () if ask is None else tuple(each.public_bytes(_DER) for each in ask() or ())
