"""What ``penstock bench`` saw beside what an earlier run saw."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ...errors import ConfigurationError
from ..form import read_file
from .report import LATENCIES, time_text

# What makes two loads the same. Versions differ where it is they that are compared.
_SAME: Final = ("codec", "connections", "depth", "rate", "ramp", "processes", "compiled", "latency_from")


def read_report(path: str) -> Mapping[str, Any]:
    """Read what an earlier run printed with ``--json``.

    Raises:
        ConfigurationError: It cannot be read, or is no such report.
    """
    data = read_file(path, "--compare")
    try:
        report = json.loads(data)
        _ = (
            report["replies_per_s"]
            + sum(report["errors"].values())
            + sum(report["latency"][name] for name in LATENCIES)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        problem = f"{path} is no report: it is what `penstock bench --json` printed that is compared with"
        raise ConfigurationError(problem, "--compare") from None
    assert isinstance(report, dict)
    return report


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return each figure of both, the old one first: replies a second, errors, latencies in seconds."""
    figures = {"replies_per_s": [float(old["replies_per_s"]), float(new["replies_per_s"])]}
    figures["errors"] = [float(sum(each["errors"].values())) for each in (old, new)]
    return figures | {name: [float(each["latency"][name]) for each in (old, new)] for name in LATENCIES}


def compare_lines(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterable[str]:
    """Yield a table for people: figures, before and after, and by how much they differ."""
    differing = [f"{name} {old.get(name)}, now {new.get(name)}" for name in _SAME if old.get(name) != new.get(name)]
    yield f"compared with {path}"
    if differing:
        yield f"  it is not the same load: {'; '.join(differing)}"
    for name, (before, after) in compared(old, new).items():
        write = time_text if name in LATENCIES else lambda value: f"{value:,.0f}"
        change = f"{(after - before) / before:+.1%}" if before else "" if not after else "new"
        yield f"  {name:<14}{write(before):>12}{write(after):>12}{change:>10}"
