"""The certificate of a client that was refused: OpenSSL forgets it, and the log is to say whose it was."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Final

# Where a session keeps it, in DER.
SHOWN: Final = "penstock_shown"

_READ: Final = "read"
_CERTIFICATE: Final = 11  # of the messages of a handshake: RFC 8446 section 4
_HEADER_BYTES: Final = 4  # type and length


def keep_shown(context: ssl.SSLContext) -> None:
    """Have sessions of a context keep the first certificate that the peer shows.

    Python has a callback for each message, and no documented name for it; where there is none nothing is kept.
    """
    if hasattr(context, "_msg_callback"):
        context._msg_callback = _message  # noqa: SLF001


def _message(session: Any, direction: str, *told: Any) -> None:
    _version, _content, kind, data = told
    if direction == _READ and kind == _CERTIFICATE and data[:1] == bytes((_CERTIFICATE,)):
        with contextlib.suppress(AttributeError):  # no session of ours
            setattr(session, SHOWN, first_certificate(data[_HEADER_BYTES:]))


def first_certificate(body: bytes) -> bytes:
    """Return the first certificate of a Certificate message: RFC 8446 section 4.4.2, RFC 5246 section 7.4.2.

    The version is not known in the handshake. In TLS 1.2 the message is a list; in 1.3 a context is before that, and
    then the first three bytes are never what is left.

    Args:
        body: The message without its header.

    Returns:
        The certificate in DER; empty where there is none, or the message is cut.
    """
    is_list = int.from_bytes(body[:3], "big") == len(body) - 3
    at = 3 if is_list or not body else 1 + body[0] + 3  # behind the length of the list
    size = int.from_bytes(body[at : at + 3], "big")
    return body[at + 3 : at + 3 + size]
