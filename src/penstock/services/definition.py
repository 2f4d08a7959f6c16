"""What a classic service is to those who list it, configure it and make it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..config import Option
from ..core.service import Service


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
