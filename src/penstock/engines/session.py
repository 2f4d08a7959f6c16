"""What sessions have in common on every engine: by what they are told apart, and why their datagrams are dropped."""

from __future__ import annotations

from typing import Any, Final

# How often in a row a socket is read before a deadline blames a peer: more than the kernel holds by default.
MOST_READS: Final = 64

# Its handler does not keep up with its peer, or the peer sends more than its message rate.
NOT_READ: Final = "session_not_read"
# More was to be sent than a peer may be sent whose address may be forged.
CREDIT_SPENT: Final = "amplification"
# A newcomer's, while the server is suspended.
SUSPENDED: Final = "suspended"
# A Unix sender without an address is nobody in particular.
UNNAMED: Final = "unnamed_peer"


def key_of(name: Any, source: bytes | None) -> Any:
    """Return by what a sender is known: its address, and which of the server's it speaks to if there are several."""
    return name if source is None else (name, source)
