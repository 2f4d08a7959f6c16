"""What TLS is spoken with: files read, checked and made into contexts of `ssl`; what is wrong is said in a sentence."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from ...core.x509 import Certificate, NotACertificateError, certificates_of_pem
from ...errors import TlsMaterialError

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def strict(context: ssl.SSLContext, minimum: str, ciphers: str | None, alpn: tuple[str, ...]) -> None:
    """Have a context speak no less than it should: RFC 9325.

    Raises:
        TlsMaterialError: No such cipher is known.
    """
    context.minimum_version = VERSIONS[minimum]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if ciphers is not None:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError:
            raise TlsMaterialError(f"{ciphers!r}: this OpenSSL knows none of these ciphers", "tls_ciphers") from None
    if alpn:
        context.set_alpn_protocols(list(alpn))


def load_pair(context: ssl.SSLContext, cert: str, key: str | None, *, option: str) -> list[Certificate]:
    """Have a context show a certificate; return that and those after it in its file.

    Args:
        context: The context.
        cert: The file of the certificate and its chain.
        key: The file of its key; None where it is in the same one.
        option: What the file is called where the user gave it.

    Raises:
        TlsMaterialError: A file cannot be read, holds something else, or the key is another certificate's.
    """
    chain = read_certificates(cert, option)
    key_option = option if key is None else option.replace("cert", "key")
    text = _read(key or cert, key_option)
    if b"PRIVATE KEY-----" not in text:
        hint = ": give its file as " + option.replace("cert", "key") if key is None else ""
        raise TlsMaterialError(f"{key or cert} holds no private key in PEM{hint}", key_option)
    if b"ENCRYPTED" in text:
        raise TlsMaterialError(
            f"the private key in {key or cert} is encrypted, and a server has nobody to ask for its password: decrypt "
            "it (openssl pkey), and let only the server read the file",
            key_option,
        )
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsMaterialError(
                f"the key in {key or cert} is not that of the certificate in {cert}", key_option
            ) from None
        raise TlsMaterialError(f"{cert} cannot be used: {_words(error)}", option) from None
    except OSError as error:
        raise _unread(f"{cert} or {key}" if key else cert, error, option) from None
    return chain


def load_authorities(context: ssl.SSLContext, path: str, option: str) -> None:
    """Have a context trust who signs with the certificates of a file.

    Raises:
        TlsMaterialError: The file cannot be read, or holds none.
    """
    read_certificates(path, option)
    _load_verify(context, path, option)


def load_revoked(context: ssl.SSLContext, path: str, option: str) -> None:
    """Have a context refuse what a list has revoked.

    Raises:
        TlsMaterialError: The file cannot be read, or holds no list.
    """
    if b"-----BEGIN X509 CRL-----" not in _read(path, option):
        raise TlsMaterialError(f"{path} holds no list of revoked certificates (X509 CRL) in PEM", option)
    _load_verify(context, path, option)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _load_verify(context: ssl.SSLContext, path: str, option: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise TlsMaterialError(f"{path} cannot be used: {_words(error)}", option) from None
    except OSError as error:
        raise _unread(path, error, option) from None


def calls_python(context: ssl.SSLContext) -> bool:
    """Say whether a context of a user's has callbacks, which may do anything in the middle of what `ssl` is doing.

    Those for names, for messages and for keys are known to be there; compiled code leaves such a context to `ssl`.
    """
    asked = (context.sni_callback, getattr(context, "_msg_callback", None), context.keylog_filename)
    return any(each is not None for each in asked)


def read_certificates(path: str, option: str) -> list[Certificate]:
    """Return the certificates of a file.

    Raises:
        TlsMaterialError: It cannot be read, or holds none.
    """
    try:
        found = certificates_of_pem(_read(path, option))
    except NotACertificateError as error:
        raise TlsMaterialError(f"{path}: {error}", option) from None
    if not found:
        raise TlsMaterialError(f"{path} holds no certificate in PEM", option)
    return found


def _read(path: str, option: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unread(path, error, option) from None


def _unread(path: str, error: OSError, option: str) -> TlsMaterialError:
    """Say that a file cannot be read. OpenSSL opens it once more, which may fail where the first time did not."""
    words = os.strerror(error.errno).lower() if error.errno else str(error)
    return TlsMaterialError(f"{path} cannot be read: {words}", option)


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
