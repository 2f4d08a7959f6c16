"""The nearest word that is known, for messages about one that is not."""

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like ``word``, or None when none is alike. Case and ``-`` or ``_`` do not matter."""
    import difflib  # noqa: PLC0415  # 5 ms, and only a mistake needs it

    def fold(text: str) -> str:
        return text.lower().replace("_", "-")

    folded = {fold(name): name for name in known}
    matches = difflib.get_close_matches(fold(word), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean NAME?"``, or an empty string when no known word is like ``word``."""
    name = nearest(word, known)
    return "" if name is None else f"; did you mean {name}?"
