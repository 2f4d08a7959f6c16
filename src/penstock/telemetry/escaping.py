"""Peers write into logs. What they write stays on its line, cannot move a terminal's cursor, and is cut short."""

from typing import Final

MAX_PEER_BYTES: Final = 256

# Printable ASCII stands for itself, all else for its value; the backslash is doubled, so that nothing can look escaped.
_BYTES: Final = tuple(chr(n) if 32 <= n < 127 and n != 92 else "\\\\" if n == 92 else f"\\x{n:02x}" for n in range(256))
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape_bytes(data: bytes, limit: int = MAX_PEER_BYTES) -> str:
    """Write bytes as printable ASCII on one line; at most ``limit`` of them, and then how many more there were."""
    text = "".join([_BYTES[byte] for byte in data[:limit]])
    return text if len(data) <= limit else f"{text}... ({len(data) - limit} more bytes)"


def escape_text(text: str, limit: int | None = None) -> str:
    """Write text on one line, each character that is not printable as its code; cut at ``limit`` characters."""
    cut = len(text) - limit if limit is not None else 0
    if cut > 0:
        text = text[:limit]
    if not text.isprintable():
        text = "".join([char if char.isprintable() else _escape(char) for char in text])
    return text if cut <= 0 else f"{text}... ({cut} more characters)"


def _escape(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
