"""Options that mean nothing to a foreign handler, each with the reason that its refusal gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..config.options import options
from ..core.service import CUTS_ITSELF

_OF_MESSAGES: Final = ("bad_messages", "timeout_message", "min_message_rate", "max_message_rate", "on_message_rate")
# Of a section that is about connections, what datagrams have as well.
_ALSO_OF_DATAGRAMS: Final = {
    *("timeout_drain", "timeout_after_close", "on_after_close"),
    *("allow", "deny", "peer_prefix_ipv4", "peer_prefix_ipv6"),
}
_NO_PROGRAM: Final = dict.fromkeys(
    ("max_processes", "timeout_program"), "runs no program, as --as exec and --as filter do"
)

# Of a handler that cuts the bytes of a stream itself.
OF_BYTES: Final[Mapping[str, str]] = {
    **dict.fromkeys(_OF_MESSAGES, CUTS_ITSELF),
    "slow_consumer": "cannot have a part of its stream left out",
    **_NO_PROGRAM,
}
# Of one that handles datagrams, and no connection.
OF_DATAGRAMS: Final[Mapping[str, str]] = {
    **OF_BYTES,
    **{
        option.name: "handles datagrams, and has no connections"
        for option in options()
        if option.section in ("TLS", "Gate", "Timeouts", "TCP") and option.name not in _ALSO_OF_DATAGRAMS
    },
    "backlog": "handles datagrams, and has no connections",
}
# Of a program for each connection.
OF_PROGRAMS: Final[Mapping[str, str]] = {
    **{name: reason for name, reason in OF_BYTES.items() if name not in _NO_PROGRAM},
    "timeout_program": "is given no lines that it could be late with; --timeout-lifetime bounds a connection",
}
# Of a program that is asked line by line.
OF_FILTERS: Final[Mapping[str, str]] = {"bad_messages": "is asked each line that there is"}
