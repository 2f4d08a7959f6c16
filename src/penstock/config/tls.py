"""The options of TLS: what a server shows its clients, and what it asks of them."""

# ruff: noqa: RUF009  # declare makes a dataclass field, once

from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigurationError
from .kinds import Choice, File, Flag, Repeated, Text
from .option import check_fields, declare

TlsVersion = Literal["1.2", "1.3"]
TlsLink = Literal["auto", "memory"]
ClientAuth = Literal["auto", "required", "optional", "off"]


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """What TLS is spoken with, wherever an address says so: ``tls://``, ``?tls=on``.

    Attributes:
        cert: Files of certificates, PEM, each with those that sign it: the first for clients that ask for no name, or
            for one that none of them is for.
        key: Files of their keys, in the same order; none where the files of the certificates have them.
        client_ca: A file of certificates that sign those of clients.
        client_auth: Whether a client has to show one: ``auto`` is ``required`` as soon as there is a ``client_ca``.
        crl: A file of certificates of clients that were revoked (RFC 5280).
        minimum: The oldest version that is spoken.
        ciphers: Of TLS 1.2, as openssl-ciphers(1) writes them; None for Python's own. Those of 1.3 are all good.
        alpn: Protocols that are offered, the best first (RFC 7301).
        alpn_required: Whether a client that agrees on none of them is refused: one that was sent here from a service of
            another protocol, with the same certificate, speaks that.
        dev: Show a certificate that is made at the start and goes with the server, for development. Its authority is
            in a file that the log names. Needs ``penstock[cert]``.
        link: What enciphers and deciphers on the native engine. ``auto``: compiled code against the OpenSSL that Python
            has loaded, where all it counts on is known; ``memory``: always Python's `ssl`, as on other engines.
    """

    cert: tuple[str, ...] = declare(
        (),
        "tls_cert",
        Repeated(File("FILE", "the name of a PEM file"), empty=True),
        "TLS",
        "Certificate with its chain, in PEM; repeatable, clients get the one for the name they ask for",
        aliases=("--ssl-certfile",),
    )
    key: tuple[str, ...] = declare(
        (),
        "tls_key",
        Repeated(File("FILE", "the name of a PEM file"), empty=True),
        "TLS",
        "Private key, if the file of the certificate does not hold it; repeatable in the same order",
        aliases=("--ssl-keyfile",),
    )
    client_ca: str | None = declare(
        None,
        "tls_client_ca",
        File("FILE", "the name of a PEM file", optional=True),
        "TLS",
        "Require a certificate from each client, signed by an authority of this file",
        default_text="none",
        aliases=("--ssl-ca-certs", "--client-ca"),
    )
    client_auth: ClientAuth = declare(
        "auto",
        "tls_client_auth",
        Choice(("auto", "required", "optional", "off")),
        "TLS",
        "Whether clients must show a certificate; auto requires it if there is a --tls-client-ca",
    )
    crl: str | None = declare(
        None,
        "tls_crl",
        File("FILE", "the name of a PEM file", optional=True),
        "TLS",
        "Refuse client certificates that are revoked by this list",
        default_text="none",
    )
    minimum: TlsVersion = declare("1.2", "tls_min", Choice(("1.2", "1.3")), "TLS", "Minimum version of TLS")
    ciphers: str | None = declare(
        None,
        "tls_ciphers",
        Text("LIST", "ciphers as openssl-ciphers(1) writes them", optional=True),
        "TLS",
        "Ciphers of TLS 1.2",
        default_text="Python's",
        aliases=("--ssl-ciphers",),
    )
    alpn: tuple[str, ...] = declare(
        (),
        "alpn",
        Repeated(Text("PROTOCOL", "the name of a protocol"), empty=True),
        "TLS",
        "Protocol to offer by ALPN; repeatable, the preferred one first",
    )

    alpn_required: bool = declare(
        False, "alpn_required", Flag(), "TLS", "Refuse clients that offer none of the protocols of --alpn"
    )

    dev: bool = declare(
        False,
        "tls_dev",
        Flag(),
        "TLS",
        "Use a temporary certificate, for development; the log says what clients have to trust",
    )

    link: TlsLink = declare(
        "auto",
        "tls_link",
        Choice(("auto", "memory")),
        "TLS",
        "Encrypt in compiled code where the engine can, or always with Python's ssl module",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.key and len(self.key) != len(self.cert):
            raise ConfigurationError(
                f"there are {len(self.key)} tls_key for {len(self.cert)} tls_cert: give one for each, or none where "
                "the files of the certificates hold the keys",
                "TlsConfig.key",
            )
        if self.client_ca is None:
            if self.client_auth in ("required", "optional"):
                raise ConfigurationError(
                    f"tls_client_auth={self.client_auth} needs a tls_client_ca, by which to verify what clients show",
                    "TlsConfig.client_auth",
                )
            if self.crl is not None:
                raise ConfigurationError(
                    "tls_crl needs a tls_client_ca: without one no client is asked for a certificate", "TlsConfig.crl"
                )
        if self.dev and self.cert:
            raise ConfigurationError("tls_dev makes a certificate of its own: leave tls_cert out", "TlsConfig.dev")
        if self.alpn_required and not self.alpn:
            raise ConfigurationError("alpn_required needs the protocols: give alpn", "TlsConfig.alpn_required")
        for name in self.alpn:
            if not (name.isascii() and 0 < len(name) < 256):
                raise ConfigurationError(f"{name!r} is no name of ALPN: 1 to 255 ASCII characters", "TlsConfig.alpn")
