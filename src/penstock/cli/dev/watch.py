"""Which files of a program change: by watchfiles where it is installed, else by looking at all of them every moment."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

# How often all files are looked at where the system does not tell.
LOOK_S: Final = 0.5
# An editor writes several files, or one in several steps: what comes within so long is one change.
SETTLE_MS: Final = 100

_SUFFIXES: Final = (".py", ".toml")
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def is_source(path: Path) -> bool:
    """Whether a change of this file may change what is served."""
    return path.suffix in _SUFFIXES and not path.name.startswith(".")


def is_within(path: Path, directory: Path) -> bool:
    """Whether a directory below ``directory`` is the program's own: not hidden, not an environment, nothing made."""
    parts = path.relative_to(directory).parts
    if any(part.startswith(".") or part in _SKIPPED for part in parts):
        return False
    inner = [directory.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    # `Path.exists` raises where a directory may not be read.
    return not any(os.path.exists(each / "pyvenv.cfg") for each in inner)


class Watch:
    """Tells of changes, in a thread of its own, until it is stopped.

    Args:
        directories: Where to look, and below them.
        changed: Called in that thread with the files that have changed, sorted; several changes at once are one.
        polls: Look at all files again and again, whatever is installed.

    Attributes:
        means: What tells: ``watchfiles``, or ``polling``.
    """

    def __init__(
        self, directories: Sequence[Path], changed: Callable[[Sequence[Path]], object], *, polls: bool = False
    ) -> None:
        self._directories = [directory.resolve() for directory in directories]
        self._changed = changed
        self._end = threading.Event()
        self.means = "polling" if polls or not _has_watchfiles() else "watchfiles"
        self._state: dict[Path, tuple[int, int, int]] = {}
        self._thread = threading.Thread(target=self._run, name="penstock-watch", daemon=True)

    def start(self) -> None:
        """Begin. What changes from now on is told of."""
        if self.means == "polling":
            self._state = self._look()
        self._thread.start()

    def stop(self) -> None:
        """Tell of nothing more. May be repeated."""
        self._end.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        for files in self._told() if self.means == "watchfiles" else self._looked():
            if files and not self._end.is_set():
                self._changed(sorted(files))

    def _told(self) -> Iterator[set[Path]]:
        import watchfiles

        for changes in watchfiles.watch(
            *self._directories,
            watch_filter=lambda _change, path: self._matters(Path(path)),
            debounce=SETTLE_MS,
            stop_event=self._end,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            yield {Path(path) for _, path in changes}

    def _matters(self, path: Path) -> bool:
        directory = next((each for each in self._directories if path.is_relative_to(each)), None)
        return directory is not None and is_source(path) and is_within(path.parent, directory)

    def _looked(self) -> Iterator[set[Path]]:
        while not self._end.wait(LOOK_S):
            before, self._state = self._state, self._look()
            yield {path for path in before.keys() | self._state if before.get(path) != self._state.get(path)}

    def _look(self) -> dict[Path, tuple[int, int, int]]:
        found = {}
        for directory in self._directories:
            for place, below, names in os.walk(directory):
                here = Path(place)
                below[:] = [name for name in below if is_within(here / name, here)]
                for path in (here / name for name in names):
                    if is_source(path):
                        try:
                            status = path.stat()
                        except OSError:  # it has gone since
                            continue
                        found[path] = status.st_mtime_ns, status.st_size, status.st_ino
        return found


def _has_watchfiles() -> bool:
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        return False
    return True
