"""What a server shares that is one of several in an application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from ..core.gate import Gate
from .inherited import InheritedSocket

if TYPE_CHECKING:
    from .forking.nursery import Nursery
    from .supervision import Supervision


class Default(Enum):
    """What stands for a value that was not given, where None is one."""

    DEFAULT = "default"


DEFAULT: Final = Default.DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What a server shares with the others of its process.

    Attributes:
        app: The application.
        gate: Theirs together; None for one of its own.
        begins_gate: Whether it is the one whose rules the gate goes by.
        inherited: The sockets that were handed down for it; None to look for them.
        watches_loop: Whether it is the one that names who holds the loop.
        servers: Among how many the process's descriptors are shared out.
        tells_course: Whether the log tells when it drains.
        supervision: The supervisor whose worker the process is; None where there is none.
        nursery: Forks a process for each connection; None where connections are served here.
        counts_as: By which name the workers count together; empty for the service's.
        is_in_one: Whether one worker has it, where there are several.
        is_elsewhere: Whether that is another one: then it is not started here.
    """

    app: Any = None
    gate: Gate | None = None
    begins_gate: bool = True
    inherited: Sequence[InheritedSocket] | None = None
    watches_loop: bool = True
    servers: int = 1
    tells_course: bool = True
    supervision: Supervision | None = None
    nursery: Nursery | None = None
    counts_as: str = ""
    is_in_one: bool = False
    is_elsewhere: bool = False
