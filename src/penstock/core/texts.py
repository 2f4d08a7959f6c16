"""What objects of the user's say of themselves, if they can; and text that is fit for a line of the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
MAX_DETAIL_BYTES: Final = 256


def text_of(thing: object, speak: Callable[[object], str] = repr) -> str:
    """Return ``speak(thing)``, or what kind of thing it is if that fails: it is code of the user's."""
    try:
        return speak(thing)
    except BaseException as error:
        return f"<{type(thing).__qualname__}, whose {speak.__name__}() raises {type(error).__name__}>"


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


def detail_of(text: str) -> str:
    """Return what a handler says about a close, as events and the log have it: on one line, 256 bytes at most.

    Raises:
        TypeError: It is no str.
    """
    if not isinstance(text, str):
        raise TypeError(f"detail is a str, not {type(text).__name__}")
    shown = escape_text(text[:MAX_DETAIL_BYTES]).encode("utf-8", "backslashreplace")
    return shown[:MAX_DETAIL_BYTES].decode("utf-8", "ignore")
