"""What the server tells its operator: records with fields, two ways to write them, a writer that never blocks."""

from .formatters import ConsoleFormatter, JsonFormatter
from .setup import Log, configure
from .writer import LineWriter

__all__ = ["ConsoleFormatter", "JsonFormatter", "LineWriter", "Log", "configure"]
