"""The nearest word that is known, for messages about one that is not."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

# Of a word this many letters may be wrong, and one in three: more, and it is another word.
_MOST_WRONG: Final = 3
# This many letters say what is meant, where they are the beginning of one known word, or of a part of it.
_TELLING: Final = 3
# Longer than any known word: whatever is typed is compared in no time.
_LONGEST: Final = 100


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was meant, or None when none is near. Case, ``-`` and ``_`` do not matter.

    Near is a word with few letters wrong, missing, too many or swapped; else the only one of which the word is the
    beginning, or a part between hyphens: ``json`` for ``json-lines``.
    """
    folded = {_fold(name): name for name in known}
    meant = _fold(word)
    if (found := _misspelt(meant, folded)) is not None:
        return folded[found]
    if len(meant) < _TELLING:
        return None
    begun = [name for name in folded if name.startswith(meant)] or [name for name in folded if meant in name.split("-")]
    return folded[begun[0]] if len(begun) == 1 else None


def is_near(word: str, known: Iterable[str]) -> bool:
    """Whether a word is one of those that are known but for a letter or a few."""
    return _misspelt(_fold(word), [_fold(name) for name in known]) is not None


def _misspelt(word: str, known: Collection[str]) -> str | None:
    if len(word) > _LONGEST:
        return None
    most = min(_MOST_WRONG, max(len(word), 3) // 3)
    distances = [(distance(word, name), name) for name in known if abs(len(name) - len(word)) <= most]
    least, name = min(distances, default=(most + 1, ""))
    return name if least <= most else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean NAME?"``, or an empty string when no known word is near ``word``."""
    name = nearest(word, known)
    return "" if name is None else f"; did you mean {name}?"


def distance(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many items have to be replaced, added, left out or swapped with the next to make one of the other.

    Each is touched once: the optimal string alignment.
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row = row, [i]
        for j, b in enumerate(other, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]


def _fold(text: str) -> str:
    # What every option begins with says nothing about which one is meant.
    return text.lower().replace("_", "-").removeprefix("--").removeprefix("penstock-")
