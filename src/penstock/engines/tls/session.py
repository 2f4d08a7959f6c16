"""What enciphers and deciphers for one end of a TLS connection: an `ssl.SSLObject`, and what passes it at both ends."""

from __future__ import annotations

import contextlib
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ...core.tls import TlsInfo
from ...core.x509 import Certificate, NotACertificateError, certificate_of
from ..link import Link, LinkUser

if TYPE_CHECKING:
    from .layer import TlsLayer

# The most that one record holds (RFC 8446 section 5.1): asking for more gives no more.
RECORD_BYTES: Final = 16384

# `_ssl.ENCODING_DER`.
_DER: Final = 2

# Makes the `ssl.SSLObject` of one connection, of what is read and of what is to be sent.
Wrap = Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject]


class Deciphered(NamedTuple):
    """What came of what was read.

    Attributes:
        data: The user's bytes, of all records that are whole.
        ended: The peer's close_notify came after them.
        error: Why nothing that follows can be deciphered; None where it can.
    """

    data: bytes
    ended: bool
    error: Exception | None


class Session(ABC):
    """One end of one TLS connection, without a link.

    Attributes:
        object: Shakes hands, knows what was agreed, and owns what the cipher needs.
    """

    __slots__ = ()

    object: ssl.SSLObject

    @property
    @abstractmethod
    def has_input(self) -> bool:
        """Whether something that was fed is still to be looked at."""

    @property
    @abstractmethod
    def has_output(self) -> bool:
        """Whether `take` has anything to hand out."""

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Take what was read."""

    @abstractmethod
    def take(self) -> bytes:
        """Hand out what is to be sent."""

    @abstractmethod
    def decipher(self) -> Deciphered:
        """Decipher what was fed, until no whole record is left."""

    @abstractmethod
    def encipher(self, data: bytes) -> None:
        """Encipher the user's bytes, all of them.

        Raises:
            ssl.SSLError, OSError: It cannot.
        """

    @abstractmethod
    def notify(self) -> None:
        """Have close_notify sent: nothing is enciphered after it."""

    def begins(self, layer: TlsLayer, link: Link) -> bool:
        """The handshake is done. From here on it may deal with the link and the user by itself; say whether it does.

        Args:
            layer: Whose it is, to be told of an end.
            link: What the layer is over.
        """
        return False

    def hands_on(self) -> None:
        """Decipher what was fed, and have the user take it. For one that deals with it by itself."""
        raise NotImplementedError


class MemorySession(Session):
    """Over two buffers in memory: by calls of `ssl` alone, on every engine.

    Args:
        wrap: Makes the object.
    """

    __slots__ = ("_incoming", "_outgoing", "object")

    def __init__(self, wrap: Wrap) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.object = wrap(self._incoming, self._outgoing)

    @property
    def has_input(self) -> bool:
        """Whether bytes wait in the buffer."""
        return bool(self._incoming.pending)

    @property
    def has_output(self) -> bool:
        """Whether bytes wait in the other buffer."""
        return bool(self._outgoing.pending)

    def feed(self, data: bytes) -> None:
        """Put it into the buffer."""
        self._incoming.write(data)

    def take(self) -> bytes:
        """Empty the other buffer."""
        return self._outgoing.read()

    def decipher(self) -> Deciphered:
        """Read record by record."""
        session, incoming = self.object, self._incoming
        found: list[bytes] = []
        error: Exception | None = None
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
        except (ssl.SSLError, OSError) as problem:
            error = problem
        return Deciphered(found[0] if len(found) == 1 else b"".join(found), ended, error)

    def encipher(self, data: bytes) -> None:
        """Write until all is written."""
        session = self.object
        sent = session.write(data)
        if sent < len(data):
            rest = memoryview(data)
            while sent < len(data):
                sent += session.write(rest[sent:])

    def notify(self) -> None:
        """Have `ssl` write it."""
        close(self.object)


def session_for(user: LinkUser, wrap: Wrap) -> Session:
    """Return the session of a connection: its engine's own where the user over the layer has one, else in memory.

    Args:
        user: What is over the layer.
        wrap: Makes the object.
    """
    make = getattr(user, "tls_session", None)
    if make is None:
        return MemorySession(wrap)
    session: Session = make(wrap)
    return session


def close(session: ssl.SSLObject) -> None:
    """Have close_notify written."""
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
