"""The limits of a gate by the names of their options, read and changed while it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..config import AUTO, did_you_mean, options
from ..config.kinds import Kind
from ..errors import ConfigurationError
from ..server.descriptors import affordable, descriptor_limit
from ..server.server import Server

# Of the options of the gate, those whose rules have the same name, and that may change at any moment.
NAMES: Final = (
    "max_connections",
    "max_per_peer",
    "max_handshakes",
    "max_orphans",
    "max_sessions",
    "accept_rate",
    "accept_rate_per_peer",
    "datagram_rate_per_peer",
    "datagram_amplification",
)


def limits_of(server: Server) -> dict[str, str]:
    """Return each limit that holds, as an option has it."""
    kinds = _kinds()
    return {name: kinds[name].format(getattr(server.gate.rules, name)) for name in NAMES}


def parsed(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return what a gate is to be set to.

    Raises:
        ConfigurationError: There is no such limit, or it cannot be that.
    """
    kinds = _kinds()
    found: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in kinds:
            hint = did_you_mean(name, kinds) or f"; there are {', '.join(kinds)}"
            raise ConfigurationError(f"there is no limit {name!r} that can be set{hint}")
        try:
            value = kinds[name].parse(text)
        except ConfigurationError as error:
            raise ConfigurationError(error.problem, name) from None
        if value == AUTO:
            raise ConfigurationError("auto is worked out at the start: give a number, or none", name)
        found[name] = value
    if found.get("max_per_peer") is not None:
        found["loopback_counts"] = True  # as for a number in the configuration
    return found


def check(server: Server, values: Mapping[str, Any]) -> None:
    """Refuse more connections than a process has descriptors for.

    Raises:
        ConfigurationError: It is more.
    """
    most, descriptors = values.get("max_connections"), descriptor_limit()
    if most is None or descriptors is None:
        return
    room = affordable(descriptors, server.choice.engine.descriptors_per_connection)
    if most > room:
        raise ConfigurationError(
            f"{most} are more than {room}, for which the process's {descriptors} descriptors are enough",
            "max_connections",
        )


def _kinds() -> dict[str, Kind]:
    return {option.name: option.kind for option in options() if option.name in NAMES}
