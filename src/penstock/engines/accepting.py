"""What accept(2) says when it gives no connection, and what to do then: for every engine."""

from __future__ import annotations

import errno
from typing import Final

# Connections taken before the established ones get their turn.
ACCEPTS_PER_TURN: Final = 16

# EMFILE: nothing can be accepted until some connection ends, yet the listener stays readable, so a level-triggered
# loop would spin. Stop polling it for a moment; Ranch, trio and Thousand Island all wait 100 ms. See accept(2).
ACCEPT_BACKOFF_S: Final = 0.1

# Linux passes errors of the new connection, which is already gone, through accept(2): take the next one.
GONE_ALREADY: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.ENETDOWN,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.EPERM,  # a firewall rule
    }
)
# So often in a row, without a connection among them, it is no connection's error: a security module forbids accept(2)
# itself, say. Then it is met as EMFILE is.
MOST_GONE: Final = ACCEPTS_PER_TURN


def errno_name(error: OSError) -> str:
    """Return what an ``accept_failed`` event calls an error: ``EMFILE``."""
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
