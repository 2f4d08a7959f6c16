"""What a connection's handler can ask of its TLS."""

from __future__ import annotations

from dataclasses import dataclass, field

from .x509 import Certificate, NotACertificateError, certificate_of


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What was agreed in a handshake.

    Attributes:
        version: ``TLSv1.3`` or ``TLSv1.2``.
        cipher: The cipher suite, as OpenSSL calls it.
        bits: How many bits of its key are secret.
        alpn: The protocol that both ends speak (RFC 7301); None where none was agreed.
        server_name: The name that the client asked for (SNI); None where it asked for none.
        certificate: The peer's, verified; None where it has none. Unverified where a client was told so.
        resumed: Whether an earlier session went on (RFC 8446 section 2.2).
        chain_der: Of a client's connection all certificates that the server has sent, its own first, as they came.
    """

    version: str
    cipher: str
    bits: int
    alpn: str | None = None
    server_name: str | None = None
    certificate: Certificate | None = None
    resumed: bool = False
    chain_der: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def chain(self) -> tuple[Certificate, ...]:
        """The certificates of `chain_der`, up to the first that cannot be read. They are not verified."""
        found: list[Certificate] = []
        for der in self.chain_der:
            try:
                found.append(certificate_of(der))
            except NotACertificateError:
                break
        return tuple(found)
