"""What a process is there for: a server, or an application with several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .server import Server


class Endable(Protocol):
    """What can be told to end. All methods belong to the loop's thread."""

    def begin_drain(self) -> None:
        """End in order, soon. May be repeated, and come at any moment."""

    def begin_stop(self) -> None:
        """End at once. May be repeated, and come at any moment."""


class Life(Endable, Protocol):
    """It begins, serves and ends. All methods belong to the loop's thread."""

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens."""

    @property
    def servers(self) -> Mapping[str, Server]:
        """The server of each service, by name."""

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end."""

    def open(self) -> None:
        """Open its addresses, before it begins. May be repeated."""

    async def obtain(self) -> None:
        """As `open`; in a worker the supervisor opens them."""

    def close(self) -> None:
        """Close them, where it has not begun. May be repeated."""

    async def start(self) -> None:
        """Begin.

        Raises:
            StoppedError: It was told to end before it had begun, and has ended.
        """

    async def wait_stopped(self) -> None:
        """Wait for the end."""
