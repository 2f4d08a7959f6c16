"""What went wrong in TLS: whose word it is, and in words that say what to do about it."""

from __future__ import annotations

import ssl
from typing import Final

from ...core.foreign import looks_like_http
from ...core.x509 import NotACertificateError, certificate_of
from ...errors import TlsError
from ...reasons import CloseReason

# What `ssl.SSLError.reason` says (the mnemonics of OpenSSL), in words. What is missing here is shown as it is.
_WORDS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client sent no certificate, and one is required",
    "NO_SHARED_CIPHER": "the client speaks none of the ciphers that are allowed here",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "no kind of signature is known at both ends",
    "UNSUPPORTED_PROTOCOL": "the peer speaks no version of TLS that is allowed here",
    "VERSION_TOO_LOW": "the peer speaks no version of TLS that is allowed here",
    "INAPPROPRIATE_FALLBACK": "the peer fell back to an older version of TLS than it need have",
    "NO_RENEGOTIATION": "the peer refuses to renegotiate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer refuses this version of TLS",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server requires a certificate of the client",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know who signed the certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refuses the certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refuses the certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer says that the certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the peer says that the certificate was revoked",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer found no version, cipher or certificate that it takes",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the peer speaks none of the protocols of ALPN that were offered",
    "TLSV1_UNRECOGNIZED_NAME": "the server knows no such name",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record was changed on its way",
    "WRONG_VERSION_NUMBER": "a record has no version of TLS",
    "Closed before TLS handshake with data in recv buffer.": "the peer has spoken and left before the handshake",
    "UNEXPECTED_MESSAGE": "the peer sent a message where none of that kind belongs",
}
# Those that are about a certificate.
_CERTIFICATES: Final = frozenset(
    {
        "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "CERTIFICATE_VERIFY_FAILED",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
    }
)


# Most characters of a refused certificate's subject that are told.
_MOST_SUBJECT: Final = 200


def failure_of(error: Exception, *, shaking: bool, shown: bytes | None = None) -> TlsError:
    """Return what an error of `ssl` means for its connection.

    Args:
        error: What was raised.
        shaking: In the handshake.
        shown: The certificate that the peer has shown, where it is known.
    """
    name = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        whose = _subject(shown)
        return TlsError(
            CloseReason.TLS_CERTIFICATE, f"the peer's certificate is refused: {error.verify_message}{whose}"
        )
    words = _WORDS.get(name) or name.lower().replace("_", " ") or str(error) or type(error).__name__
    if name in _CERTIFICATES:
        return TlsError(CloseReason.TLS_CERTIFICATE, words)
    # With TLS 1.3 a client is done before its server is: what that makes of the client's certificate comes later.
    shakes = shaking or name == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    return TlsError(CloseReason.TLS_HANDSHAKE if shakes else CloseReason.TLS_ERROR, words)


def _subject(shown: bytes | None) -> str:
    """Say whose a certificate says it is. That is not verified."""
    if not shown:
        return ""
    try:
        subject = certificate_of(shown).subject
    except NotACertificateError:
        return "; it cannot be read"
    return f"; it says it is {ascii(subject[:_MOST_SUBJECT])[1:-1] or 'nobody'}"


def not_tls(data: bytes) -> TlsError:
    """Say that what a peer sent is no TLS, and what it looks like."""
    what = "HTTP" if looks_like_http(data) else "plain text" if data[:16].isascii() else "something else"
    return TlsError(CloseReason.NOT_TLS, f"the peer speaks {what} where TLS is spoken")


TRUNCATED: Final = "the peer's end came without close_notify: what it sent may have been cut"
BARREN: Final = "the peer changes keys, or sends empty records, and says nothing"
UNSENT: Final = "there was no memory or stack to send a record, without which none that follows can be deciphered"
LEFT: Final = "the peer left in the middle of the handshake"
