"""Log files that were moved away, by logrotate(8) say, and have to be opened again under their names."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


def reopen_log_files() -> int:
    """Open every log file of `logging` anew, at its end. Return how many there are.

    One that nothing was written to yet is opened with its first record, as ever; so is one that cannot be opened now.
    """
    handlers = list(dict.fromkeys(_file_handlers()))
    for handler in handlers:
        handler.acquire()
        try:
            handler.mode = "a"  # else what another process writes to the new file meanwhile would be cut off
            stream, handler.stream = handler.stream, None  # as FileHandler itself does
            if stream is not None:
                stream.close()
                with contextlib.suppress(OSError):
                    handler.stream = handler._open()  # noqa: SLF001 - what FileHandler's own subclasses call
        finally:
            handler.release()
    return len(handlers)


def _file_handlers() -> Iterator[logging.FileHandler]:
    root = logging.getLogger()
    loggers = [root, *(each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger))]
    for logger in loggers:
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                yield handler
