"""In which order an application's services drain. A plain function decides; the server obeys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from ..errors import ConfigurationError
from ..suggest import did_you_mean


def waves(after: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the services in waves: those of one drain together, once all of the wave before have drained.

    Args:
        after: For each service those that drain before it does.

    Raises:
        ConfigurationError: A service does not exist, or two wait for each other.
    """
    for name, others in after.items():
        for other in others:
            if other not in after:
                hint = did_you_mean(other, after) or f"; there are {', '.join(after)}"
                raise ConfigurationError(f"{name} drains after {other}, which is no service{hint}")
    sorter = TopologicalSorter(after)
    try:
        sorter.prepare()
    except CycleError as error:
        raise ConfigurationError(f"services drain after each other: {' after '.join(error.args[1])}") from None
    found: list[tuple[str, ...]] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found.append(tuple(name for name in after if name in ready))
        sorter.done(*ready)
    return found
