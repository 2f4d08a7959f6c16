"""``--reload``: a supervisor of one worker, which is replaced whenever a file of the program changes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from .watch import Watch

_logger: Final = logging.getLogger("penstock")


class Reloading:
    """Watches files while a supervisor starts, serves, and is started again.

    Args:
        directories: Where the files are.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        self._change = threading.Event()
        self._lock = threading.Lock()
        self._reload: Callable[[], object] | None = None
        self._watch = Watch(directories, self._changed)

    def __enter__(self) -> Self:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what it tells at a lower level is told here
        self._watch.start()
        where = "by watchfiles" if self._watch.means == "watchfiles" else "by polling: pip install penstock[reload]"
        _logger.info("files are watched %s", where)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._watch.stop()

    def begin(self, reload: Callable[[], object]) -> None:
        """Have ``reload`` called on the running loop with each change from now on, and for one that came before."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(reload)
            except RuntimeError:  # the loop is closed: the server has ended
                return

        with self._lock:
            self._reload = tell
            came_before = self._change.is_set()
            self._change.clear()
        if came_before:
            reload()

    def wait(self) -> None:
        """Wait for a change, after a start that failed."""
        with self._lock:
            self._reload = None
        _logger.warning("waiting for a change of the files")
        self._change.wait()
        self._change.clear()

    def _changed(self, files: Sequence[Path]) -> None:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        _logger.info("%s%s changed", files[0].name, more)
        with self._lock:
            if self._reload is None:
                self._change.set()
            else:
                self._reload()
