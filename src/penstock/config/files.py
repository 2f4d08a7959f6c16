"""The configuration file: ``penstock.toml``, or the table ``[tool.penstock]`` of ``pyproject.toml``."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError
from ..units import format_size
from .kinds import quote

FILE_NAME: Final = "penstock.toml"
PROJECT_FILE_NAME: Final = "pyproject.toml"
# A configuration is a page of text. What is larger was named by mistake, and is not read into memory to find that out.
MAX_FILE_BYTES: Final = 1024 * 1024

_HEADER: Final = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_KEY: Final = re.compile(r"""\s*(?:"([^"]+)"|'([^']+)'|([A-Za-z0-9_-]+))\s*=""")
_POSITION: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")
_END: Final = " (at end of document)"


@dataclass(frozen=True, slots=True)
class Document:
    """One file as it was read.

    Attributes:
        path: Its path as the user would write it.
        directory: Where it stands: what relative paths in it are relative to.
        table: The table that holds Penstock's keys.
        lines: The line of each key, counted from 1, as far as it is known.
        name: What the table is called in the file; empty for the whole file.
        text: The file.
    """

    path: str
    directory: Path
    table: Mapping[str, object]
    lines: Mapping[str, int]
    name: str = ""
    text: str = ""

    def where(self, key: str) -> str:
        """Return ``file:line`` of ``key``, or the file alone."""
        return f"{self.path}:{self.lines[key]}" if key in self.lines else self.path

    def without(self, key: str) -> "Document":
        """Return the same file without one of its keys."""
        return replace(self, table={name: value for name, value in self.table.items() if name != key})

    def inner(self, key: str) -> "Document | None":
        """Return the table that stands in this one as ``key``; None where there is none, or no table."""
        table = self.table.get(key)
        if not isinstance(table, dict):
            return None
        name = f"{self.name}.{key}" if self.name else key
        return replace(self, table=table, lines=_key_lines(self.text, name), name=name)


def read(path: Path) -> Document:
    """Read the file the user named.

    Raises:
        ConfigurationError: It cannot be read, is too large, is not TOML, or is a ``pyproject.toml`` without our table.
    """
    return parsed(path, path.parent, _read_text(path))


def parsed(path: Path, directory: Path, text: str) -> Document:
    """Make a document of a text that was read before.

    Raises:
        ConfigurationError: As `read`.
    """
    if path.name != PROJECT_FILE_NAME:
        return Document(str(path), directory, _parse(path, text), _key_lines(text, ""), text=text)
    document = _project(path, directory, text)
    if document is None:
        raise ConfigurationError("it has no table [tool.penstock]", str(path))
    return document


def find(directory: Path) -> Document | None:
    """Read the file that stands in ``directory``: ``penstock.toml``, else a ``pyproject.toml`` that has our table.

    Raises:
        ConfigurationError: There is one and it cannot be used. A ``pyproject.toml`` that does not mention us is
            none of ours, whatever state it is in.
    """
    # What is no regular file, or is not there, or is in a directory that may not be looked at: there is none.
    path = Path(FILE_NAME)
    if os.path.exists(directory / path):
        text = _read_text(path, directory)
        return Document(str(path), directory, _parse(path, text), _key_lines(text, ""), text=text)
    path = Path(PROJECT_FILE_NAME)
    try:
        text = _read_text(path, directory)
    except ConfigurationError:
        return None
    return _project(path, directory, text) if "tool.penstock" in text else None


def _project(path: Path, directory: Path, text: str) -> Document | None:
    tool = _parse(path, text).get("tool")
    table = tool.get("penstock") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        return None
    return Document(str(path), directory, table, _key_lines(text, "tool.penstock"), "tool.penstock", text)


def _read_text(path: Path, directory: Path = Path()) -> str:
    where = str(path)
    try:
        with open(directory / path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read it: {(error.strerror or str(error)).lower()}", where) from None
    except ValueError:  # a NUL in the name
        raise ConfigurationError("it is not a file name", quote(where)) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(
            f"it is larger than {format_size(MAX_FILE_BYTES)}, too large for a configuration file", where
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigurationError("it is UTF-16 text: save it as UTF-8", where)
    try:
        return data.decode("utf-8-sig")  # some editors put a byte order mark in front, which TOML does not allow
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError("it is not UTF-8 text: save it as UTF-8", f"{where}:{line}") from None


def _parse(path: Path, text: str) -> dict[str, object]:
    import tomllib  # noqa: PLC0415  # 10 ms, and most commands have no file

    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError; Python's own for a number of thousands of digits
        problem, position = _explain(error, text)
        problem = f"{problem[:1].lower()}{problem[1:]}"
        if position is None:
            raise ConfigurationError(problem, str(path)) from None
        line, column = position
        lines = text.splitlines()
        # The line itself, with what could disturb a terminal escaped.
        shown = lines[line - 1] if line <= len(lines) else ""
        shown = "".join(char if char.isprintable() else " " for char in shown)[:200]
        raise ConfigurationError(f"{problem}\n    {shown}", f"{path}:{line}:{column}") from None
    except RecursionError:
        raise ConfigurationError("it is nested too deep", str(path)) from None


def _explain(error: ValueError, text: str) -> tuple[str, tuple[int, int] | None]:
    """Return what tomllib says without the place, and the line and column; None for a text of another form.

    Since CPython 3.14 both are attributes, before that the place is the end of the text.
    """
    problem = str(getattr(error, "msg", error))
    doc, at = getattr(error, "doc", text), getattr(error, "pos", None)  # CRLF is LF in tomllib's own copy
    if match := _POSITION.search(problem):
        return problem[: match.start()], (int(match[1]), int(match[2]))
    if isinstance(at, int) and at < len(doc):
        return problem, (doc.count("\n", 0, at) + 1, at - doc.rfind("\n", 0, at))
    if isinstance(at, int) or problem.endswith(_END):
        lines = text.splitlines() or [""]
        return f"{problem.removesuffix(_END)} before the end of the file", (len(lines), len(lines[-1]) + 1)
    return problem, None


def _key_lines(text: str, table: str) -> dict[str, int]:
    """Find the line of each key of ``table``. tomllib keeps none, and a message about a value has to name its line."""
    lines: dict[str, int] = {}
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _HEADER.match(line):
            current = match[1].replace(" ", "")
            if current.count(".") == table.count(".") + bool(table) and (not table or current.startswith(table + ".")):
                lines.setdefault(current.rpartition(".")[2], number)
        elif current == table and (match := _KEY.match(line)):
            lines.setdefault(match[1] or match[2] or match[3], number)
    return lines
