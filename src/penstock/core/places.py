"""Where the user's own code is written, as a message names it: ``hello.py:6``."""

from __future__ import annotations

import functools
import inspect
import linecache
import os
import re
from collections.abc import Callable
from typing import Any, Final

# How far below its first decorator a function's own line is looked for.
_MOST_DECORATOR_LINES: Final = 50


def written(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that somebody wrote: without the wrappers and partials around it, and of a method its own."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif not inspect.isroutine(function) and not isinstance(function, type) and callable(function):
            function = type(function).__call__
        else:
            return function


def place_of(function: Callable[..., Any]) -> str:
    """Return ``file:line`` of a function's ``def``; an empty string for one that is written nowhere."""
    code = getattr(written(function), "__code__", None)
    if code is None:
        return ""
    return f"{shown(code.co_filename)}:{_line_of_def(code.co_filename, code.co_firstlineno)}"


def shown(filename: str) -> str:
    """Write a path relative to the current directory where that is shorter."""
    try:
        relative = os.path.relpath(filename)
    except (OSError, ValueError):  # the current directory is gone; another drive
        return filename
    return relative if len(relative) < len(filename) else filename


def _line_of_def(filename: str, first: int) -> int:
    """Return the line of the ``def``: Python counts a function from its first decorator."""
    for line in range(first, first + _MOST_DECORATOR_LINES):
        text = linecache.getline(filename, line)
        if re.match(r"\s*(async\s+)?def\b", text) or "lambda" in text:
            return line
    return first
