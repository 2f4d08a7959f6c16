"""What a client trusts of whom it talks to over TLS, and what it shows itself."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Final, Literal

from ..address import Address
from ..address.model import ANY_HOST
from ..core.x509 import NotACertificateError, certificate_of
from ..engines.link import LinkUser
from ..engines.tls.contexts import calls_python, load_authorities, load_pair, strict
from ..engines.tls.layer import TlsLayer
from ..errors import ConfigurationError, TlsError
from ..reasons import CloseReason
from .sessions import has_expired, sessions_of

# How many different contexts are kept: each holds all the authorities that it trusts.
_KEPT: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """How a client speaks TLS: of addresses that begin with ``tls://`` or end with ``?tls=on``.

    By default the peer has to show a certificate for the host of the address, signed by somebody this system trusts.

    Attributes:
        verify: Whether the peer's certificate is verified. False: anybody may be at the other end, and read and change
            what is sent.
        ca: A file of certificates, PEM: only who signs with these is trusted. None: whom the system trusts.
        cert: A file with a certificate of our own, PEM, for servers that ask for one, and those that sign it.
        key: The file of its key; None where that is in the same file.
        server_name: Whom the certificate has to be for, and whom to ask for (SNI); None: the host of the address.
        pins: Keys, as ``sha256/`` and base64 (RFC 7469): besides all else the peer's certificate has to have one of
            them. Empty: any key.
        minimum: The oldest version that is spoken.
        ciphers: Of TLS 1.2, as openssl-ciphers(1) writes them; None for Python's own.
        alpn: Protocols that are offered, the best first.
        resume: Whether a session of an earlier connection to the same server goes on, which spares both a signature and
            its verification: the peer is the one who was verified then, and both ends are taken for whom they have
            shown themselves then. False: each handshake is done in full. None: it goes on, but not with a `context`
            of your own: True there says that it is loaded with no other certificate and no other revocation list
            after it was used first, for Python does not tell.
        context: In place of all of this but `server_name`, `pins` and `resume`.

    Raises:
        ConfigurationError: A pin has another form.
    """

    verify: bool = True
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    pins: tuple[str, ...] = ()
    minimum: Literal["1.2", "1.3"] = "1.2"
    ciphers: str | None = None
    alpn: tuple[str, ...] = ()
    resume: bool | None = None
    context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        for pin in self.pins:
            if not (pin.startswith("sha256/") and len(pin) == 51 and pin.endswith("=")):
                raise ConfigurationError(
                    f"{pin!r} is no pin: sha256/ and the 44 characters of base64 that `penstock probe` shows",
                    "ClientTls.pins",
                )


class Handshake:
    """One handshake of a client: makes the layer, and says what came of it.

    Args:
        target: What is connected to.
        tls: How.

    Raises:
        ConfigurationError: A file is wrong, or nobody said whom to expect.
    """

    def __init__(self, target: Address, tls: ClientTls) -> None:
        self.error: TlsError | None = None
        self._is_over = False
        self._future: asyncio.Future[None] | None = None
        self._pins = tls.pins
        self._name = tls.server_name or _name_of(target)
        self._context = tls.context or _context_of(tls, _signature(tls.ca, tls.cert, tls.key))
        if self._name is None and self._context.check_hostname:
            raise ConfigurationError(
                f"{target}: whose certificate to expect is not known: give a server_name (--sni), or do not verify"
            )
        # What a context verifies may be changed while it is used. That it shows another certificate cannot be seen:
        # with the user's own a session would go on as whom it has shown before.
        context = self._context
        verified = (context.verify_mode, context.check_hostname, context.verify_flags)
        where = target.path or (target.host, target.port)
        resumes = tls.context is None if tls.resume is None else tls.resume
        self._key = (verified, where, self._name) if resumes else None
        self._taken: ssl.SSLSession | None = None

    def layer(self, user: LinkUser) -> TlsLayer:
        """Make the layer."""
        keep = None if self._key is None else self._keep
        return TlsLayer(user, self._wrap, self._ready, self._judge, keep, in_memory=calls_python(self._context))

    def _wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        self._taken = self._take()
        return self._context.wrap_bio(incoming, outgoing, server_hostname=self._name, session=self._taken)

    def wrap_socket(self, sock: socket.socket) -> ssl.SSLSocket:
        """Return what speaks TLS over a connected socket, which goes over to it; its handshake is still to be done."""
        return self._context.wrap_socket(
            sock, server_hostname=self._name, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )

    def refuses(self, session: ssl.SSLObject | ssl.SSLSocket) -> TlsError | None:
        """Return why a peer is refused whom `ssl` has accepted; None where it is not."""
        return self._judge(session)

    def _take(self) -> ssl.SSLSession | None:
        """Return the newest session that may go on, and forget those that have expired."""
        if self._key is None:
            return None
        sessions = sessions_of(self._context)
        while (session := sessions.take(self._key)) is not None and has_expired(session):
            pass
        return session

    def _keep(self, agreed: ssl.SSLObject) -> bool:
        """Keep a session for a later connection; with TLS 1.3 not the one that this one goes on with: it was used."""
        session = agreed.session
        if session is None or not session.has_ticket or (session == self._taken and agreed.version() == "TLSv1.3"):
            return False
        sessions_of(self._context).keep(self._key, session)
        return True

    def _judge(self, session: ssl.SSLObject | ssl.SSLSocket) -> TlsError | None:
        if not self._pins:
            return None
        der = session.getpeercert(binary_form=True)
        with contextlib.suppress(NotACertificateError):
            pin = certificate_of(der or b"").pin
            if pin in self._pins:
                return None
            return TlsError(CloseReason.TLS_CERTIFICATE, f"the peer's key is {pin}, which is none of the pins")
        return TlsError(
            CloseReason.TLS_CERTIFICATE, "the peer's certificate cannot be read, and so has none of the pins"
        )

    def _ready(self, error: TlsError | None) -> None:
        self._is_over = True
        self.error = error
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        """Wait until it is over.

        Raises:
            TlsError: It failed.
        """
        if not self._is_over:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
        self.check()

    def check(self) -> None:
        """Say what came of it.

        Raises:
            TlsError: It failed.
        """
        if self.error is not None:
            raise self.error


def handshake_for(target: Address, tls: ClientTls) -> Handshake | None:
    """Return the handshake of a connection; None where no TLS is spoken.

    Raises:
        ConfigurationError: As of `Handshake`.
    """
    return Handshake(target, tls) if target.is_tls else None


def _name_of(target: Address) -> str | None:
    """Return whom a certificate has to be for: a host's name or address."""
    if not target.host:
        return None
    host = target.host.partition("%")[0].removesuffix(".")
    return {ANY_HOST: "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _signature(*paths: str | None) -> tuple[object, ...]:
    """Return what is another where a file is another than before."""
    found: list[object] = []
    for path in paths:
        if path is not None:
            with contextlib.suppress(OSError):  # met when it is read
                status = os.stat(path)
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


@functools.lru_cache(maxsize=_KEPT)
def _context_of(tls: ClientTls, _signature: tuple[object, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    strict(context, tls.minimum, tls.ciphers, tls.alpn)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca is not None:
        load_authorities(context, tls.ca, "ca")
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if tls.cert is not None:
        load_pair(context, tls.cert, tls.key, option="cert")
    return context
