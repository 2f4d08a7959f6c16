"""Setting up logging for a process that is ours. A library that is imported configures nothing."""

import logging
from types import TracebackType
from typing import Final, Self

from ..config import LogFormat, LogLevel
from .formatters import ConsoleFormatter, JsonFormatter
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

    def __init__(self, writer: LineWriter, handler: logging.Handler, level: int, *, access_log: bool) -> None:
        self.writer = writer
        self._handler = handler
        self._levels: list[tuple[logging.Logger, int]] = []
        root = logging.getLogger()
        self._capture = not root.handlers
        # The user's own records go the same way, unless the user's module has set up logging itself.
        self._logger = root if self._capture else logging.getLogger("penstock")
        self._logger.addHandler(handler)
        self._set_level(self._logger, level)
        if not access_log:
            self._set_level(logging.getLogger(ACCESS_LOGGER), logging.CRITICAL + 1)
        if self._capture:
            logging.captureWarnings(True)

    def set_level(self, level: LogLevel) -> None:
        """Write records from this level on."""
        self._logger.setLevel(level.upper())

    def _set_level(self, logger: logging.Logger, level: int) -> None:
        self._levels.append((logger, logger.level))
        logger.setLevel(level)

    def close(self, timeout_s: float = FLUSH_S) -> None:
        """Write what is pending, for at most ``timeout_s`` seconds, and take everything back."""
        if self._capture:
            logging.captureWarnings(False)
        self._logger.removeHandler(self._handler)
        for logger, level in reversed(self._levels):
            logger.setLevel(level)
        self._levels.clear()
        self.writer.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def configure(
    *,
    level: LogLevel = "info",
    format: LogFormat = "console",  # noqa: A002  # the option's word
    access_log: bool = True,
    fd: int = 2,
    colour: bool = False,
) -> Log:
    """Send the log of this process to a file descriptor.

    Args:
        level: The least severe records that are written.
        format: ``console`` for people, ``json`` for programs.
        access_log: Whether the logger ``penstock.access`` is written too.
        fd: Where to: standard error. It is never waited for.
        colour: Whether the console format colours levels.
    """
    formatter = JsonFormatter() if format == "json" else ConsoleFormatter(colour=colour)

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
    return Log(writer, handler, logging.getLevelNamesMapping()[level.upper()], access_log=access_log)
