"""Setting up logging for a process that is ours. A library that is imported configures nothing."""

import atexit
import json
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ..config import LogFormat, LogLevel
from ..errors import ConfigurationError
from .formatters import formatter_of
from .writer import LineWriter

# What is still pending at the end of the process gets that long. A live reader needs milliseconds.
FLUSH_S: Final = 1.0

ACCESS_LOGGER: Final = "penstock.access"


class _LineHandler(logging.Handler):
    """Gives formatted records to a `LineWriter`. A record that cannot be formatted is reported, never raised."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        # Formatted here, not on the writer's thread: the fields are then those of this moment, and what waits is
        # bounded in bytes.
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 RUF100  # whatever a field's __str__ raises
            line = f"a log record of {record.pathname}:{record.lineno} cannot be formatted: {type(error).__name__}"
        self._writer.write(line)


class Log:
    """The log of this process. Closing it writes what is pending and gives `logging` back as it was.

    Attributes:
        writer: What writes the lines; the banner goes through it too, so that nothing at all can stall.
    """

    def __init__(self, writer: LineWriter, handler: logging.Handler | None, level: int, *, access_log: bool) -> None:
        self.writer = writer
        self._handler = handler
        self._levels: list[tuple[logging.Logger, int]] = []
        self._capture = False
        self._logger = root = logging.getLogger()
        if handler is None:  # a file has set up everything
            return
        self._capture = not root.handlers
        # The user's own records go the same way, unless the user's module has set up logging itself.
        if not self._capture:
            self._logger = logging.getLogger("penstock")
        self._logger.addHandler(handler)
        self._set_level(self._logger, level)
        if not access_log:
            self._set_level(logging.getLogger(ACCESS_LOGGER), logging.CRITICAL + 1)
        if self._capture:
            logging.captureWarnings(True)

    def set_level(self, level: LogLevel) -> bool:
        """Write records from this level on. Return False, with nothing done, where a file has set up logging."""
        if self._handler is None:
            return False
        self._logger.setLevel(level.upper())
        return True

    def _set_level(self, logger: logging.Logger, level: int) -> None:
        self._levels.append((logger, logger.level))
        logger.setLevel(level)

    def close(self, timeout_s: float = FLUSH_S) -> None:
        """Write what is pending, for at most ``timeout_s`` seconds, and take everything back. May be repeated."""
        if self._capture:
            logging.captureWarnings(False)
        if self._handler is not None:
            self._logger.removeHandler(self._handler)
        for logger, level in reversed(self._levels):
            logger.setLevel(level)
        self._levels.clear()
        self.writer.close(timeout_s)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def configure_logging(
    *,
    level: LogLevel = "info",
    format: LogFormat = "console",  # noqa: A002  # the option's word
    access_log: bool = True,
    config: str | os.PathLike[str] | None = None,
    fd: int = 2,
    colour: bool = False,
) -> Log:
    """Send the log of this process to a file descriptor, as ``penstock serve`` does.

    Call it once, at the start of a program. The log is written until the process ends, or until what this returns is
    closed. Where the root logger has handlers already, the records of ``penstock`` alone are written.

    Args:
        level: The least severe records that are written.
        format: ``console`` for people; ``json`` and ``logfmt`` for programs.
        access_log: Whether the logger ``penstock.access`` is written too.
        config: A TOML or JSON file for `logging.config.dictConfig` that sets up logging instead; then ``level`` and
            ``format`` are for nothing but what is written past `logging`. Unless it says otherwise, loggers that are
            there already stay.
        fd: Where to: standard error. It is never waited for; what does not fit into 1 MiB of waiting lines is dropped,
            counted and told.
        colour: Whether the console format colours levels.

    Raises:
        ConfigurationError: The file cannot be read, or dictConfig refuses what it says. Nothing was set up.
    """
    formatter = formatter_of(format, colour=colour)
    if config is not None:
        _configure_from(Path(config))

    def describe_loss(lost: int) -> str:
        text = f"{lost} log lines were dropped: they could not be written in time"
        fields = {"event": "log_dropped", "dropped": lost}
        return formatter.format(
            logging.makeLogRecord(
                {"name": "penstock", "levelname": "WARNING", "levelno": logging.WARNING, "msg": text, **fields}
            )
        )

    writer = LineWriter(fd, describe_loss=describe_loss)
    handler = _LineHandler(writer)
    handler.setFormatter(formatter)
    log = Log(
        writer,
        None if config is not None else handler,
        logging.getLevelNamesMapping()[level.upper()],
        access_log=access_log,
    )
    atexit.register(log.close)
    return log


def _configure_from(path: Path) -> None:
    import logging.config  # noqa: PLC0415  # only for this

    try:
        text = path.read_text("utf-8-sig")
        if path.suffix == ".toml":
            import tomllib  # noqa: PLC0415  # only for this

            settings = tomllib.loads(text)
        else:
            settings = json.loads(text)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is no {path.suffix[1:].upper() or 'JSON'}: {error}"
        raise ConfigurationError(f"cannot be read: {why}", str(path)) from None
    if not isinstance(settings, dict):
        raise ConfigurationError("is no table of settings", str(path))
    try:
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **settings})
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        cause = f": {error.__cause__}" if error.__cause__ is not None else ""
        raise ConfigurationError(f"dictConfig refuses it: {error}{cause}", str(path)) from error
