"""What the server tells its operator: records with fields, three ways to write them, a writer that never blocks."""

from .formatters import ConsoleFormatter, JsonFormatter, LogfmtFormatter, formatter_of
from .setup import Log, configure_logging
from .writer import LineWriter

__all__ = [
    "ConsoleFormatter",
    "JsonFormatter",
    "LineWriter",
    "Log",
    "LogfmtFormatter",
    "configure_logging",
    "formatter_of",
]
