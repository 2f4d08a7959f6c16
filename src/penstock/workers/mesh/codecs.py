"""What the workers know codecs by: members that speak codecs of one text get the same frames."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, Final

from ...codecs.base import Codec
from ...core.handover.codecs import tells_all, text_of

# Codecs whose text is known; a connection may have one of its own.
_MOST: Final = 256

# Of those that others may speak, too.
_MOST_TEXTS: Final = 4096

_logger: Final = logging.getLogger("penstock")


class KnownCodecs:
    """The codecs of this worker, and their texts. Safe from every thread.

    A codec that does not show all of its options is known by the service that it belongs to. Where it belongs to none,
    no other worker knows it: another one with the same text may cut frames in another way.

    Args:
        served: Those of the services, by name.
        number: Of this worker.
    """

    def __init__(self, served: Mapping[str, Codec[Any]], number: int) -> None:
        self._number = number
        self._others = 0
        self._lock = threading.Lock()
        self._texts: dict[int, tuple[Codec[Any], str]] = {}
        self._served: dict[int, tuple[Codec[Any], str]] = {}
        self._by_text: dict[str, Codec[Any]] = {}
        for name, codec in served.items():
            if id(codec) not in self._served:
                text, is_whole = _text_of(codec)
                text = text if is_whole else f"{text} of {name}"
                self._served[id(codec)] = codec, text
                self._by_text.setdefault(text, codec)

    def text(self, codec: Codec[Any]) -> str:
        """Return what the workers know a codec by."""
        found = self._served.get(id(codec)) or self._texts.get(id(codec)) or self._learn(codec)
        return found[1]

    def _learn(self, codec: Codec[Any]) -> tuple[Codec[Any], str]:
        text, is_whole = _text_of(codec)  # the user's code: not under the lock
        with self._lock:
            while len(self._texts) >= _MOST:
                del self._texts[next(iter(self._texts))]
            if not is_whole:
                self._others += 1
                text = f"{text} number {self._others} of worker {self._number}"
            elif len(self._by_text) < _MOST_TEXTS:
                self._by_text.setdefault(text, codec)
            found = self._texts[id(codec)] = codec, text  # with the codec, which so keeps its id
        return found

    def by_text(self, text: str) -> Codec[Any] | None:
        """Return the codec of a text; None where there is none here."""
        return self._by_text.get(text)


def _text_of(codec: Codec[Any]) -> tuple[str, bool]:
    """Return the text, and whether it says all of the codec."""
    try:
        return text_of(codec), tells_all(codec)
    except Exception as error:  # of a codec of the user's, or of a class without a signature
        name = f"{type(codec).__module__}.{type(codec).__qualname__}"
        _logger.debug("the options of the codec %s are not known: %s", name, error)
        return name, False
