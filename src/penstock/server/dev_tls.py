"""Certificates for development: an authority of one's own, and what it signs. Needs the extra ``cert``."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from ..address import Address
from ..config import TlsConfig
from ..errors import ConfigurationError, TlsMaterialError

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
DEFAULT_DAYS: Final = 90

_CA, _CA_KEY = "ca.pem", "ca-key.pem"


class DevAuthority:
    """An authority whose files are in a directory: those that are there, or new ones.

    Args:
        directory: Where. It is made where it is missing.

    Raises:
        ConfigurationError: The extra is not installed.
        TlsMaterialError: A file cannot be read or written, or is no authority's.

    Attributes:
        ca: The file that clients trust.
        is_new: Whether it was made just now.
    """

    def __init__(self, directory: Path) -> None:
        trustme = _trustme()
        self._directory = directory
        self.ca = directory / _CA
        key = directory / _CA_KEY
        self.is_new = not (self.ca.exists() and key.exists())
        with _told(directory):
            if self.is_new:
                directory.mkdir(parents=True, exist_ok=True)
                self._authority: Any = trustme.CA(organization_name="Penstock", organization_unit_name="development")
                self._write(_CA, self._authority.cert_pem.bytes(), 0o644)
                self._write(_CA_KEY, self._authority.private_key_pem.bytes(), 0o600)
            else:
                try:
                    self._authority = trustme.CA.from_pem(self.ca.read_bytes(), key.read_bytes())
                except ValueError as error:
                    raise TlsMaterialError(f"{self.ca} and {key} are no authority: {error}") from None

    def issue(self, name: str, names: Sequence[str], *, days: float = DEFAULT_DAYS) -> Path:
        """Write a certificate with its key and return the file.

        Args:
            name: What the file is called.
            names: Whom it is for: names of hosts, addresses, mailboxes.
            days: How long it is valid.

        Raises:
            TlsMaterialError: The file cannot be written.
            ConfigurationError: A name is none.
        """
        now = datetime.now(UTC)
        try:
            issued = self._authority.issue_cert(
                *names,
                common_name=names[0],
                organization_name="Penstock",
                organization_unit_name="development",
                not_before=now - timedelta(hours=1),
                not_after=now + timedelta(days=days),
            )
        except ValueError as error:
            raise ConfigurationError(f"{', '.join(names)}: {error}") from None
        with _told(self._directory):
            return self._write(f"{name}.pem", issued.private_key_and_cert_chain_pem.bytes(), 0o600)

    def _write(self, name: str, data: bytes, mode: int) -> Path:
        """Write a file as a whole, with these rights from its first byte on."""
        path = self._directory / name
        made = self._directory / f".{name}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            made.unlink()
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
        made.replace(path)
        return path


class ThrowAway:
    """A certificate that goes with the server: its authority is nobody's tomorrow.

    Args:
        addresses: Where the server listens: the certificate is for their hosts, and for this machine.

    Raises:
        ConfigurationError, TlsMaterialError: As of `DevAuthority`.

    Attributes:
        cert: The file of the certificate and its key.
        ca: The file that clients trust.
        close: Removes the files. May be repeated; what is forgotten goes with this object.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        directory = tempfile.mkdtemp(prefix="penstock-tls-dev-")
        self.close = weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        authority = DevAuthority(Path(directory))
        hosts = [at.host.partition("%")[0] for at in addresses if at.host not in ("", "*", "0.0.0.0", "::")]
        self.cert = str(authority.issue("server", list(dict.fromkeys((*LOCAL_NAMES, *hosts)))))
        self.ca = str(authority.ca)

    def config(self, tls: TlsConfig) -> TlsConfig:
        """Return the configuration with this certificate."""
        return replace(tls, dev=False, cert=(self.cert,))


def _trustme() -> Any:
    try:
        return importlib.import_module("trustme")
    except ImportError:
        raise ConfigurationError(
            "certificates for development need the package trustme: pip install 'penstock[cert]'"
        ) from None


@contextlib.contextmanager
def _told(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        words = os.strerror(error.errno).lower() if error.errno else str(error)
        raise TlsMaterialError(f"{error.filename or directory}: {words}") from None
