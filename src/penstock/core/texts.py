"""What objects of the user's say of themselves, if they can."""

from __future__ import annotations

from collections.abc import Callable


def text_of(thing: object, speak: Callable[[object], str] = repr) -> str:
    """Return ``speak(thing)``, or what kind of thing it is if that fails: it is code of the user's."""
    try:
        return speak(thing)
    except BaseException as error:
        return f"<{type(thing).__qualname__}, whose {speak.__name__}() raises {type(error).__name__}>"
