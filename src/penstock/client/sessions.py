"""Sessions of TLS that a client may go on with (RFC 8446 section 2.2): what servers gave, kept by whom it is for."""

from __future__ import annotations

import ssl
import threading
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final

# A session holds the server's certificates, some kilobytes. A server that sends more tickets than these sends two for
# each connection, and a pool that opens many at once uses one for each.
MOST_SERVERS: Final = 256
MOST_EACH: Final = 8


class Sessions:
    """What is kept, the newest first. Each is taken once: a ticket shown twice tells who listens that both are one.

    RFC 8446 appendix C.4 asks for that. Safe from every thread.

    Args:
        most_servers: How many servers have some; the one that was used least lately is forgotten.
        most_each: How many of one are kept.
    """

    def __init__(self, most_servers: int = MOST_SERVERS, most_each: int = MOST_EACH) -> None:
        self._most_servers = most_servers
        self._most_each = most_each
        self._kept: OrderedDict[Hashable, deque[ssl.SSLSession]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many are kept."""
        with self._lock:
            return sum(map(len, self._kept.values()))

    def take(self, key: Hashable) -> ssl.SSLSession | None:
        """Return the newest session for ``key``, and keep it no longer; None where there is none."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            session = found.pop()
            if found:
                self._kept.move_to_end(key)
            else:
                del self._kept[key]
            return session

    def keep(self, key: Hashable, session: ssl.SSLSession) -> None:
        """Keep a session for ``key``; the oldest gives way where there is no room."""
        with self._lock:
            self._kept.setdefault(key, deque(maxlen=self._most_each)).append(session)
            self._kept.move_to_end(key)
            if len(self._kept) > self._most_servers:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()


# Those of this process.
SESSIONS: Final = Sessions()
