"""Sessions of TLS that a client may go on with (RFC 8446 section 2.2): what servers gave, kept by whom it is for.

Each context has those that were agreed with it, and they go when it goes: a session holds its context, with all the
authorities that it trusts.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Hashable
from contextlib import suppress
from typing import Final

# A session holds the server's certificates, some kilobytes. A server that sends more tickets than these sends two for
# each connection, and a pool that opens many at once uses one for each.
MOST_SERVERS: Final = 256
MOST_EACH: Final = 8


class Sessions:
    """What is kept, the newest first. Each is taken once: a ticket shown twice tells who listens that both are one.

    RFC 8446 appendix C.4 asks for that. With TLS 1.2 there is one ticket for all, and who goes on keeps it again. Safe
    from every thread.

    Args:
        most_servers: How many servers have some; the one that was used least lately is forgotten.
        most_each: How many of one are kept.
    """

    def __init__(self, most_servers: int = MOST_SERVERS, most_each: int = MOST_EACH) -> None:
        self._most_servers = most_servers
        self._most_each = most_each
        self._kept: OrderedDict[Hashable, deque[ssl.SSLSession]] = OrderedDict()
        self._lock = threading.RLock()  # a signal handler, or a finaliser, may connect in the middle of a call

    def __len__(self) -> int:
        """How many are kept."""
        with self._lock:
            return sum(map(len, self._kept.values()))

    def take(self, key: Hashable) -> ssl.SSLSession | None:
        """Return the newest session for ``key``, and keep it no longer; None where there is none."""
        with self._lock:
            found = self._kept.pop(key, None)  # whole: a call within this one finds nothing, or what it keeps itself
            if found is None:
                return None
            session = found.pop()
            if found:
                self._put(key, found)
            return session

    def keep(self, key: Hashable, session: ssl.SSLSession) -> None:
        """Keep a session for ``key``; the oldest gives way where there is no room."""
        with self._lock:
            found = self._kept.pop(key, None)
            if found is None:
                found = deque(maxlen=self._most_each)
            found.append(session)
            self._put(key, found)
            if len(self._kept) > self._most_servers:
                with suppress(KeyError):
                    self._kept.popitem(last=False)

    def _put(self, key: Hashable, found: deque[ssl.SSLSession]) -> None:
        """Have these kept as those that were used most lately, after what was kept meanwhile."""
        found.extend(self._kept.pop(key, ()))
        self._kept[key] = found


# Where a context has its own. A child that was forked keeps nothing of its parent's, which shows the same tickets; and
# a lock that another thread had at the fork would be held there for ever.
_NAME: Final = "_penstock_sessions"
_forks = 0


def _note_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_note_fork)


def sessions_of(context: ssl.SSLContext) -> Sessions:
    """Return what this process keeps of a context's."""
    kept = vars(context).get(_NAME)
    if kept is None or kept[0] != _forks:
        # Of two threads that are here at once one keeps its first session for itself, which is lost.
        kept = vars(context)[_NAME] = (_forks, Sessions())
    sessions: Sessions = kept[1]
    return sessions


def has_expired(session: ssl.SSLSession) -> bool:
    """Say whether its server said that it is not to be gone on with any more."""
    return time.time() >= session.time + session.timeout
