"""What groups and registries ask of the other workers of the server, where there are any."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from ..config.kinds.words import check_word
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .distant import DistantConnection
    from .group import Group
    from .membership import Membership
    from .publication import Frames
    from .registry import Hold, Registry

Scope = Literal["workers", "process"]

# What has come by worker: the number of the last publication of each. A member that moves takes it along.
Cursor = Mapping[int, int]


class Elsewhere(Protocol):
    """The other workers, as a group or a registry of this one knows them. Safe from every thread.

    Attributes:
        number: Of this worker: no other one has it, nor had it before.
    """

    number: int

    # -- groups --------------------------------------------------------------------------------------------------------

    def members_of(self, name: str) -> int:
        """How many members a group has in other workers, as far as they have told."""

    def catch_up(self) -> None:
        """Take note of what the others have told by now, and on the loop deliver what they have published.

        So a member who has joined before gets what is published next, and what was published before comes first.
        """

    def joined(self, group: Group[Any], member: Membership[Any]) -> None:
        """Tell the others of a member, under the group's lock; its ``kind`` is set.

        Raises:
            LocalProtocolError: There is another group of this name.
        """

    def left(self, group: Group[Any], member: Membership[Any]) -> None:
        """Likewise that it has left."""

    def codec_changed(self, member: Membership[Any]) -> None:
        """Likewise that it speaks another codec."""

    def publish(
        self, group: Group[Any], frames: Frames, exclude: frozenset[int], on_slow: Any, key: Hashable
    ) -> tuple[int, int]:
        """Send a message to the members elsewhere; never wait. Under the group's lock.

        Returns:
            For how many members it is, and the number of the publication; 0 where it went to no other worker.

        Raises:
            LocalProtocolError, TypeError, CodecError: No codec of theirs takes it, and the group has no member here.
        """

    def cursor(self) -> dict[int, int]:
        """Say what has come of each worker, this one included."""

    def catch_member_up(self, group: Group[Any], member: Membership[Any], cursor: Cursor) -> None:
        """Deliver to a member that comes from the worker before what that has not: all after ``cursor``."""

    # -- registries ----------------------------------------------------------------------------------------------------

    def claim(self, registry: Registry[Any], hold: Hold[Any], *, refuses: bool, order: int | None) -> bool:
        """Have a key held here: from now on every worker finds it.

        Args:
            registry: Whose.
            hold: What holds it; its ``order`` is set.
            refuses: Do nothing where another worker has it.
            order: That of a hold which comes from another worker; None for a new one, which is the latest.

        Returns:
            Whether it is held: False where another worker has it, and this one refuses, or has a later hold.

        Raises:
            LimitError: This worker has as many keys as it can.
            LocalProtocolError: This thread is deciding on a key already: see `put_off`.
        """

    def displace(self, registry: Registry[Any], hold: Hold[Any]) -> None:
        """Have the holds of the same key in other workers closed that are earlier."""

    def unclaim(self, registry: Registry[Any], key: Hashable, order: int | None) -> None:
        """A key is held here no longer; or its latest hold here is this one."""

    def put_off(self, work: Callable[[], object]) -> bool:
        """Return whether this thread is deciding on a key: then ``work`` is done in the loop's next turn.

        It is so for a finalizer which the collector runs meanwhile, and for a handler of a signal.
        """

    def find(self, registry: Registry[Any], key: Hashable) -> list[tuple[int, DistantConnection]]:
        """Return the connections that other workers have for a key, with the order of each."""


def check_scope(scope: str, name: str) -> bool:
    """Return whether a scope spans the workers.

    Raises:
        ConfigurationError: There is no such scope, or what spans workers has no name by which they know it.
    """
    check_word("scope", scope, get_args(Scope))
    if scope == "workers" and not name:
        raise ConfigurationError("what spans the workers needs a name, by which each of them knows it", "scope")
    return scope == "workers"


# The workers beside this process; None where it is no worker.
_current: Elsewhere | None = None


def current() -> Elsewhere | None:
    """Return the workers beside this process; None where it is no worker."""
    return _current


def set_current(elsewhere: Elsewhere | None) -> None:
    """Have groups and registries that span workers know them by this."""
    global _current
    _current = elsewhere


# A child that is forked is no worker: what it would read and write there is its parent's.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: set_current(None))
