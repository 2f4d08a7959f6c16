"""Words that name a policy: checked when they are given, not when a slow peer meets them."""

from __future__ import annotations

from collections.abc import Sequence

from ..config.kinds.words import Choice
from ..errors import ConfigurationError


def check_word(name: str, word: object, known: Sequence[str]) -> None:
    """Refuse a word that is not known.

    Raises:
        ConfigurationError: It is not.
    """
    try:
        Choice(tuple(known)).check(word)
    except ConfigurationError as error:
        raise ConfigurationError(error.problem, name) from None
