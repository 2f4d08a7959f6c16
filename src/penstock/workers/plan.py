"""What a supervisor goes by."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import WorkersConfig
from ..config.files import Document
from .messages import File


@dataclass(frozen=True, slots=True)
class WorkersPlan:
    """How the workers of one generation are started.

    Attributes:
        config: How many there are, and when they are replaced.
        document: The configuration file as it was read, which is what they go by; None for none.
    """

    config: WorkersConfig
    document: Document | None = None

    @property
    def file(self) -> File | None:
        """The file, as it is told to workers."""
        document = self.document
        return None if document is None else File(document.path, str(document.directory), document.text)
