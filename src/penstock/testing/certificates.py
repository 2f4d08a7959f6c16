"""Certificates for tests, made while they run: right ones, and ones that are wrong in one way each."""

from __future__ import annotations

import functools
import importlib
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import trustme


class Authority:
    """Signs certificates, and writes them where a program can read them.

    Args:
        directory: Where.

    Attributes:
        directory: Where.
        ca: The file of its own certificate.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trustme: trustme.CA = importlib.import_module("trustme").CA()
        self.ca = str(directory / "ca.pem")
        self.trustme.cert_pem.write_to_path(self.ca)

    def issue(self, name: str, *names: str, days: float = 365, since_days: float = 1, common: str | None = None) -> str:
        """Write a certificate and its key into one file; return its path.

        Args:
            name: What the file is called.
            names: What it is for.
            days: How long it is valid from now; negative: it has expired.
            since_days: How long ago it became valid; negative: it has not yet.
            common: Its common name.
        """
        now = datetime.now(UTC)
        issued = self.trustme.issue_cert(
            *names,
            common_name=common,
            not_before=now - timedelta(days=since_days),
            not_after=now + timedelta(days=days),
        )
        path = self.directory / f"{name}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)

    def issue_by_another(self, name: str, *names: str, chain: bool) -> str:
        """Write a certificate that an authority below this one has signed, with that one's behind it or without."""
        issued = self.trustme.create_child_ca().issue_cert(*names)
        path = self.directory / f"{name}.pem"
        issued.private_key_pem.write_to_path(str(path))
        for pem in issued.cert_chain_pems if chain else issued.cert_chain_pems[:1]:
            pem.write_to_path(str(path), append=True)
        return str(path)

    def issue_for_servers(self, name: str, *names: str) -> str:
        """Write a certificate that is good for a server alone (RFC 5280 section 4.2.1.12)."""
        x509 = importlib.import_module("cryptography.x509")
        hashes = importlib.import_module("cryptography.hazmat.primitives.hashes")
        serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")
        path = self.issue(name, *names)
        pem = Path(path).read_bytes()
        old = x509.load_pem_x509_certificate(pem)
        key: Any = serialization.load_pem_private_key(self.trustme.private_key_pem.bytes(), None)
        builder = x509.CertificateBuilder(
            old.issuer,
            old.subject,
            old.public_key(),
            old.serial_number,
            old.not_valid_before_utc,
            old.not_valid_after_utc,
        )
        for extension in old.extensions:
            if not isinstance(extension.value, x509.ExtendedKeyUsage):
                builder = builder.add_extension(extension.value, extension.critical)
        usage = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
        made = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
        begin = pem.index(b"-----BEGIN CERTIFICATE")
        Path(path).write_bytes(pem[:begin] + made.public_bytes(serialization.Encoding.PEM))
        return path

    def revoke(self, name: str, *paths: str) -> str:
        """Write a list that revokes certificates; return its path."""
        x509 = importlib.import_module("cryptography.x509")
        hashes = importlib.import_module("cryptography.hazmat.primitives.hashes")
        serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")
        issuer = x509.load_pem_x509_certificate(self.trustme.cert_pem.bytes())
        key: Any = serialization.load_pem_private_key(self.trustme.private_key_pem.bytes(), None)
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(
            issuer.subject, last_update=now - timedelta(days=1), next_update=now + timedelta(days=30)
        )
        for path in paths:
            leaf = x509.load_pem_x509_certificate(Path(path).read_bytes())
            revoked = x509.RevokedCertificateBuilder(leaf.serial_number, now - timedelta(hours=1)).build()
            builder = builder.add_revoked_certificate(revoked)
        target = self.directory / f"{name}.pem"
        target.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return str(target)

    def client(self, cert: str | None = None, **versions: Any) -> ssl.SSLContext:
        """Return a client's context that trusts this authority, with a certificate to show."""
        context = ssl.create_default_context(cafile=self.ca)
        if cert is not None:
            context.load_cert_chain(cert)
        for name, value in versions.items():
            setattr(context, name, value)
        return context


@functools.cache
def authority() -> Authority:
    """Return the authority of this process: its files go with the process."""
    directory = tempfile.TemporaryDirectory(prefix="penstock-tls-")
    made = Authority(Path(directory.name))
    made.kept = directory  # type: ignore[attr-defined]  # removed when it is collected
    return made


@functools.cache
def server_certificate() -> str:
    """Return the file of a certificate for this machine, with its key."""
    return authority().issue("server", "localhost", "127.0.0.1", "::1", common="localhost")
