"""What has come of each worker, and what was published lately: for members that come from another worker."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final, NamedTuple

from ...groups.elsewhere import Cursor
from .frames import Publication
from .links import Links

# Of what was published lately, for connections that come from another worker.
RECORDED_BYTES: Final = 16 * 1024 * 1024

# Workers of which it is known what has come.
_REMEMBERED: Final = 4096

_logger: Final = logging.getLogger("penstock")


class Recorded(NamedTuple):
    """A publication, and whose it is.

    Attributes:
        publication: What was published.
        worker: By which worker.
    """

    publication: Publication
    worker: int


class Records:
    """Used under the lock of the links, but for what has come: that is the loop's.

    Args:
        links: Those of the worker.

    Attributes:
        heard: By worker, also by those that have ended: the number of the last publication that was delivered.
    """

    def __init__(self, links: Links) -> None:
        self.heard: dict[int, int] = {}
        self._links = links
        self._recorded: deque[Recorded] | None = None
        self._size = 0
        self._has_forgotten = False
        self._floors: dict[str, dict[int, Cursor]] = {}  # by group, for each member that has come: what it had got

    @property
    def is_on(self) -> bool:
        """Whether publications are recorded: connections may come from another worker."""
        return self._recorded is not None

    def begin(self) -> None:
        """Record what is published from now on."""
        self._recorded = deque()

    def end(self) -> None:
        """Forget what was recorded: no connection comes any more."""
        self._recorded = None
        self._size = 0

    def trim(self) -> None:
        """Forget workers that have ended long ago."""
        while len(self.heard) > _REMEMBERED:
            del self.heard[next(iter(self.heard))]

    def add(self, said: Publication, worker: int) -> None:
        """Record a publication, where that is on."""
        recorded = self._recorded
        if recorded is None:
            return
        recorded.append(Recorded(said, worker))
        self._size += _size(said)
        while self._size > RECORDED_BYTES and recorded:
            if not self._has_forgotten:
                self._has_forgotten = True
                _logger.error("more is published than is remembered for members that move: they may miss some of it")
            self._size -= _size(recorded.popleft().publication)

    def comes(self, group: str, conn_id: int, cursor: Cursor) -> list[Recorded]:
        """A member has come, which had got all up to a cursor: return what it has not got so far."""
        self._floors.setdefault(group, {})[conn_id] = cursor
        return [
            each
            for each in self._recorded or ()
            if each.publication.group == group and each.publication.number > cursor.get(each.worker, 0)
        ]

    def left(self, group: str, conn_id: int) -> None:
        """A member is none any more."""
        floors = self._floors.get(group)
        if floors is not None:
            floors.pop(conn_id, None)
            if not floors:
                del self._floors[group]

    def who_has(self, said: Publication, worker: int) -> frozenset[int]:
        """Return the members that have come and had got a publication before."""
        floors = self._floors.get(said.group)
        if not floors:
            return frozenset()
        found = frozenset(number for number, floor in floors.items() if floor.get(worker, 0) >= said.number)
        if self._recorded is None and not self._links.have_published and self._is_past(floors):
            del self._floors[said.group]
        return found

    def _is_past(self, floors: dict[int, Cursor]) -> bool:
        """Whether all has come that members had got in the worker before."""
        return all(
            worker not in self._links or self.heard.get(worker, 0) >= number
            for floor in floors.values()
            for worker, number in floor.items()
        )


def _size(said: Publication) -> int:
    return 256 + sum(len(frame) for _, _, frame in said.frames)
