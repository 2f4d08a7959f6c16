"""What a peer speaks that breaks the framing with its first bytes: another protocol, often enough."""

from __future__ import annotations

from typing import Final

from ..errors import CodecError, RemoteProtocolError
from ..reasons import CloseReason

# Enough bytes to recognize each protocol.
FIRST_BYTES: Final = 16

_VERBS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE")
_HTTP: Final = (*(f"{verb} ".encode() for verb in _VERBS), b"HTTP/")
_CLIENT_HELLO: Final = 1


def looks_like_http(data: bytes | bytearray) -> bool:
    """Say whether a stream that begins like this is HTTP/1."""
    return data.startswith(_HTTP)


def looks_like_tls(data: bytes | bytearray) -> bool:
    """Say whether a stream that begins like this is TLS: a record of a handshake, with a ClientHello (RFC 8446)."""
    return data[:2] == b"\x16\x03" and data[5:6] == bytes((_CLIENT_HELLO,))


def looks_like_proxy(data: bytes) -> bool:
    """Say whether a stream that begins like this has a PROXY header before it, of version 1 or 2."""
    return data.startswith((b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n"))


def note_foreign(error: RemoteProtocolError | CodecError, first: bytes) -> None:
    """Give a broken framing the reason that says more, where the stream begins as that of another protocol.

    Args:
        error: What the codec refused the first frame with.
        first: How the stream begins.
    """
    if isinstance(error, RemoteProtocolError):
        if looks_like_tls(first):
            error.reason = CloseReason.LOOKS_LIKE_TLS
        elif looks_like_http(first):
            error.reason = CloseReason.LOOKS_LIKE_HTTP
        elif looks_like_proxy(first):
            error.reason = CloseReason.LOOKS_LIKE_PROXY
