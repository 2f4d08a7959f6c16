"""What has become of the connections of workers that were replaced: added up, and told once."""

from __future__ import annotations

import logging
from typing import Final

from .messages import Parted

_logger: Final = logging.getLogger("penstock")


class Partings:
    """Adds up what workers say that were to hand their connections over."""

    def __init__(self) -> None:
        self._said: list[Parted] = []

    def add(self, parted: Parted | None) -> None:
        """A worker that was replaced has ended; None: it had nothing to hand over, or was killed."""
        if parted is not None:
            self._said.append(parted)

    def tell(self) -> None:
        """All of them have ended: say what they said. May be repeated."""
        said, self._said = self._said, []
        if said:
            moved = sum(each.moved for each in said)
            drained = sum(each.drained for each in said)
            cut = sum(each.cut for each in said)
            _logger.info("handed over: %d connections moved, %d drained, %d were cut", moved, drained, cut)
