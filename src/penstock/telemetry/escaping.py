"""Peers write into logs. What they write stays on its line, cannot move a terminal's cursor, and is cut short."""

from typing import Final

from ..core.texts import escape_text

__all__ = ["MAX_PEER_BYTES", "escape_bytes", "escape_text"]

MAX_PEER_BYTES: Final = 256

# Printable ASCII stands for itself, all else for its value; the backslash is doubled, so that nothing can look escaped.
_BYTES: Final = tuple(chr(n) if 32 <= n < 127 and n != 92 else "\\\\" if n == 92 else f"\\x{n:02x}" for n in range(256))


def escape_bytes(data: bytes, limit: int = MAX_PEER_BYTES) -> str:
    """Write bytes as printable ASCII on one line; at most ``limit`` of them, and then how many more there were."""
    text = "".join([_BYTES[byte] for byte in data[:limit]])
    return text if len(data) <= limit else f"{text}... ({len(data) - limit} more bytes)"
