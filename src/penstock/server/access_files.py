"""``--allow`` and ``--deny`` in files: read at the start, and again whenever one has changed."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..address.networks import AccessList, check_entry
from ..core.gate import Gate
from ..engines.aside import aside
from ..errors import ConfigurationError
from .repeated import pause

logger = logging.getLogger("penstock")

FOLLOW_S: Final = 1.0
MAX_FILE_BYTES: Final = 16 * 1024**2

Signature = tuple[int, int, int, int] | None


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """``--allow`` and ``--deny``, with the files they name: ``@deny.txt`` has an entry per line, ``#`` begins a remark.

    Attributes:
        allow: As configured.
        deny: As configured.
    """

    allow: Sequence[str]
    deny: Sequence[str]

    @property
    def paths(self) -> list[str]:
        """The files, each as it is named."""
        return [entry[1:] for entry in (*self.allow, *self.deny) if entry.startswith("@")]

    def load(self) -> AccessList:
        """Read every file.

        Raises:
            ConfigurationError: One cannot be read, or a line of it is no entry; ``where`` is ``file:line``.
        """
        return AccessList(_expanded(self.allow), _expanded(self.deny))

    def signature(self) -> list[Signature]:
        """Return what changes when a file does."""
        return [signature_of(path) for path in self.paths]

    async def follow(self, gate: Gate, before: list[Signature]) -> None:
        """Give the gate a new list whenever a file has changed. What cannot be read changes nothing, and is logged.

        Args:
            gate: Goes by what was read so far.
            before: The signature from before that.
        """
        while True:
            await pause(FOLLOW_S)
            try:
                # All of it: on a mount that does not answer, to ask when a file was changed hangs as well.
                now, access, problem = await aside(functools.partial(self._look, before), "penstock-networks")
                if problem is not None:
                    logger.error("networks unchanged: %s", problem)
                elif access is not None:
                    gate.set(access=access)
                    logger.info("networks reloaded: %s", ", ".join(self.paths))
                before = now
            except (MemoryError, RuntimeError):  # the second of a system that gives no thread
                pass  # what is not done yet is tried again at the next look

    def _look(self, before: list[Signature]) -> tuple[list[Signature], AccessList | None, ConfigurationError | None]:
        """Return the signature, and what the files say if it has changed, or why they cannot be read."""
        now = self.signature()
        if now == before:
            return before, None, None
        try:
            return now, self.load(), None
        except ConfigurationError as error:
            return now, None, error


def _expanded(entries: Sequence[str]) -> Iterator[str]:
    for entry in entries:
        if entry.startswith("@"):
            yield from _entries(entry[1:])
        else:
            yield entry


def _entries(path: str) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", path) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"is longer than {MAX_FILE_BYTES} bytes", path)
    for number, line in enumerate(data.decode("utf-8", "replace").removeprefix("\ufeff").splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if entry:
            try:
                check_entry(entry)
            except ConfigurationError as error:
                raise ConfigurationError(error.problem, f"{path}:{number}") from None
            yield entry


def signature_of(path: str) -> Signature:
    """Return what changes when a file does; None while it cannot be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    # The last of these cannot be set back, and it moves with the rights, too.
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns
