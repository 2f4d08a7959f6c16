"""Three ways to write a record: for people, and for programs as one JSON object or as logfmt.

The fields of an event travel in ``extra``: ``log.info("closed", extra={"peer": …, "reason": …})``. Every attribute that
`logging` itself does not put on a record is a field. Their names are the vocabulary of the documentation; sizes end in
``_bytes`` or say ``bytes_in``, durations end in ``_s``.
"""

import logging
import math
import re
import time
from collections.abc import Iterator
from typing import Final

from ..config import LogFormat
from .escaping import escape_bytes, escape_text

# A message of a library or of the user, who may quote a peer without having thought about it.
MAX_MESSAGE_CHARACTERS: Final = 8192
MAX_FIELD_CHARACTERS: Final = 256

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS: Final = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m", "DEBUG": "\x1b[2m"}
_RESET: Final = "\x1b[0m"
# Of logfmt: what a key may not hold, and with what in it a value is quoted.
_NO_KEY: Final = re.compile(r"[^\w.-]+", re.ASCII)
_TO_QUOTE: Final = re.compile(r"[^!#-<>-~]")


def fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """Yield the fields of a record in the order in which they were given; what is None is not there."""
    for name, value in vars(record).items():
        if name not in _OWN and value is not None:
            yield name, value


def _traceback(record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        import traceback  # noqa: PLC0415  # 5 ms, and most runs log no exception

        parts.append("".join(traceback.format_exception(*record.exc_info)))
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(part.rstrip("\n") for part in parts)


def _is_said(record: logging.LogRecord, value: object) -> bool:
    """Whether a field is one of what the message is made of, so that a line need not say it again."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    if isinstance(value, tuple | list):  # the message joins it
        return bool(value) and any(str(argument).startswith(str(value[0])) for argument in arguments)
    return any(
        (type(argument) is type(value) and argument == value) or (isinstance(value, str) and str(argument) == value)
        for argument in arguments
    )


class ConsoleFormatter(logging.Formatter):
    """Writes ``2026-11-21 09:00:00.123 info closed peer=127.0.0.1:40000 reason=done``, in local time.

    A field that the message says already is left out. Durations are given to the millisecond. A traceback follows on
    indented lines, so that no line of it can pass for an event.

    Args:
        colour: Whether the level is coloured, by its severity.
    """

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Write one record, without a newline at its end."""
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = record.levelname.lower()
        if self._colour and record.levelname in _COLOURS:
            level = f"{_COLOURS[record.levelname]}{level}{_RESET}"
        parts = [f"{clock}.{int(record.msecs):03d}", level, escape_text(record.getMessage(), MAX_MESSAGE_CHARACTERS)]
        parts += [
            f"{name}={self._value(name, value)}"
            for name, value in fields(record)
            if name != "event" and not _is_said(record, value)
        ]
        line = " ".join(parts)
        trace = _traceback(record)
        if trace:
            line += "".join(f"\n    {escape_text(row)}" for row in trace.split("\n"))
        return line

    @staticmethod
    def _value(name: str, value: object) -> str:
        if isinstance(value, float):
            return f"{value:.3f}" if name.endswith("_s") else f"{value:.6g}"
        if isinstance(value, bytes | bytearray):
            text = escape_bytes(bytes(value))
        else:
            text = escape_text(str(value), MAX_FIELD_CHARACTERS)
        # Quoted where the end of the value would not be seen.
        return '"' + text.replace('"', '\\"') + '"' if " " in text or '"' in text or not text else text


class _StructuredFormatter(logging.Formatter):
    """What formats for programs have in common: ``ts`` (UTC), ``level``, ``logger``, ``event``, then the fields.

    A record without an ``event`` field is free text: its event is ``log``. ``message`` is left out where it only
    repeats the event. A traceback is the one field ``exception``.
    """

    def _line(self, record: logging.LogRecord) -> dict[str, object]:
        """Return the fields of a record's line, in their order."""
        message = record.getMessage()
        values = dict(fields(record))
        event = str(values.pop("event", "log"))
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "ts": f"{clock}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event,
        }
        if message != event:
            line["message"] = _cut(message, MAX_MESSAGE_CHARACTERS)
        for name, value in values.items():
            # A field cannot replace what the record says of itself.
            digits = 3 if name.endswith("_s") else 6  # durations to the millisecond
            line[name if name not in line else f"{name}_"] = self._value(value, digits)
        trace = _traceback(record)
        if trace:
            line["exception"] = trace
        return line

    @classmethod
    def _value(cls, value: object, digits: int) -> object:
        if isinstance(value, list | tuple):
            return [cls._value(item, digits) for item in value]
        if isinstance(value, dict):
            return {str(key): cls._value(item, digits) for key, item in value.items()}
        if isinstance(value, int):
            return value
        if isinstance(value, float) and math.isfinite(value):  # JSON has no infinity
            return round(value, digits)
        if isinstance(value, bytes | bytearray):
            return escape_bytes(bytes(value))
        return _cut(str(value), MAX_FIELD_CHARACTERS)


class JsonFormatter(_StructuredFormatter):
    """Writes one JSON object for each record, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record, without a newline at its end."""
        import json  # noqa: PLC0415  # only in this format

        return json.dumps(self._line(record), ensure_ascii=True, allow_nan=False)


class LogfmtFormatter(_StructuredFormatter):
    """Writes ``ts=2026-11-21T09:00:00.123Z level=info logger=penstock event=closed reason=done`` for each record.

    A value that is empty, or holds anything but visible ASCII, an equals sign or a quote, is quoted as JSON quotes a
    string. Items of a list are joined by commas. What no key may hold becomes ``_``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write one record, without a newline at its end."""
        return " ".join(f"{_key(name)}={_quoted(value)}" for name, value in self._line(record).items())


def _key(name: str) -> str:
    return _NO_KEY.sub("_", name) or "_"


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    if text and not _TO_QUOTE.search(text):
        return text
    import json  # noqa: PLC0415

    return json.dumps(text, ensure_ascii=True)


def formatter_of(format: LogFormat, *, colour: bool = False) -> logging.Formatter:  # noqa: A002  # the option's word
    """Return what writes records in a format; ``colour`` is for the console alone."""
    if format == "console":
        return ConsoleFormatter(colour=colour)
    return JsonFormatter() if format == "json" else LogfmtFormatter()


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text) - limit} more characters)"
