"""Figures for people: columns, and units that can be read at a glance."""

from collections.abc import Iterable, Sequence
from typing import Any

from ...telemetry.escaping import escape_text
from ...units import format_size


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = ()) -> str:
    """Write a table.

    Args:
        header: What the columns are called.
        rows: Their cells. What a peer may have chosen is escaped.
        right: The columns that are numbers.
    """
    cells = [list(header), *([escape_text(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    numbers = frozenset(right)
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def age(seconds: float) -> str:
    """Write how long ago something was, in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    return f"{hours}h{minute:02}m" if hours else f"{minutes}m{second:02}s"


def size(count: Any) -> str:
    """Write a number of bytes, or that it is not known."""
    if count is None:
        return "unknown"
    step = 1
    while count >= 10_000 * step:
        step *= 1024
    return format_size(count // step * step)


def number(count: int) -> str:
    """Write a number."""
    return f"{count:,}"
