"""What a classic service is to those who list it, configure it and make it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..config import Option
from ..core.service import Service

# The lines of the classic services. The classic clients send a word without a newline and wait for the answer. Linux
# sends a lost segment again after 200 ms at the earliest: twice that, and one lost segment cuts no line in two. A peer
# that has once ended a line is taken at its word. A client that sends each keystroke pauses within a line: ``--codec
# lines`` waits for its end.
LINES: Final = "lines:quiet=400ms,unterminated=deliver"


@dataclass(frozen=True, slots=True)
class Definition:
    """One classic service.

    Attributes:
        name: What users call it.
        summary: One line about it.
        make: Makes the `Service`, over its own codec; called with the value of each option by name. Each call makes one
            that shares nothing with the others.
        options: What can be set, beside the options of every server.
    """

    name: str
    summary: str
    make: Callable[..., Service[Any]]
    options: tuple[Option, ...] = ()
