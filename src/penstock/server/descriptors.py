"""How many connections a process has descriptors for, and how many descriptors it may have."""

from __future__ import annotations

import logging
from typing import Final

from ..config import AUTO, GateConfig
from ..errors import LimitError
from .bind_errors import in_plain_words

logger = logging.getLogger("penstock")

DEFAULT_MAX_CONNECTIONS: Final = 10_000

# Kept for what is no connection: listeners, the loop, logs, files the handlers open. Where there are few descriptors at
# all, a quarter of them.
RESERVED_DESCRIPTORS: Final = 64


def affordable(descriptors: int, each: int = 1) -> int:
    """Return how many connections fit into ``descriptors`` descriptors: nine tenths of what is left.

    Args:
        descriptors: How many the process may have open.
        each: How many a connection has open.
    """
    reserved = min(RESERVED_DESCRIPTORS, descriptors // 4)
    return max(1, (descriptors - reserved) * 9 // 10 // each)


def descriptors_for(connections: int, each: int = 1) -> int:
    """Return how many descriptors ``connections`` connections need; the inverse of `affordable`."""
    return connections * each * 10 // 9 + 1 + RESERVED_DESCRIPTORS


def reserve_of(config: GateConfig) -> int:
    """Return how many connections beside all others are reserved."""
    return config.reserve if config.reserve_for else 0


def descriptor_limit() -> int | None:
    """Return how many descriptors this process may have open; None where there is no limit.

    Raises:
        LimitError: The system does not say.
    """
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    try:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError as error:
        raise LimitError(f"cannot read the descriptor limit: {in_plain_words(error)}; allow prlimit64(2)") from error
    return None if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit(*needs: tuple[GateConfig, int]) -> None:
    """Raise the soft limit of descriptors as far as the configuration needs it and the hard limit lets it.

    For a process that is a server and nothing else: a program that uses select(2) may count on descriptors under 1024.

    Args:
        needs: For each server of the process its gate's configuration, and how many descriptors a connection has open.
    """
    limit = descriptor_limit()
    if limit is None:
        return
    import resource  # noqa: PLC0415 - not on Windows

    wanted = sum(_descriptors(config, each) for config, each in needs)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if wanted > limit:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:  # there are fewer connections then
            logger.warning("the descriptor limit stays at %d: cannot raise it to %d: %s", limit, wanted, error)


def _descriptors(config: GateConfig, each: int) -> int:
    connections = config.max_connections
    if connections is None or connections == AUTO:
        connections = DEFAULT_MAX_CONNECTIONS
    return descriptors_for(connections, each) + reserve_of(config) * each
