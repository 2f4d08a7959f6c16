"""Datagrams on their way out that the kernel had no room for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from errno import EMSGSIZE
from typing import Any, Final

# Replies kept while the kernel has no room; more are dropped, as the network itself would.
MAX_QUEUED_REPLIES: Final = 256
# Of those, for one Unix peer that does not read: as many again as its own queue holds, a few times over (unix(7):
# net.unix.max_dgram_qlen, 10 by default).
MAX_QUEUED_PER_UNIX_PEER: Final = 32

# A Unix datagram socket that is not connected is always writable, whether or not its peer has room: waiting for that
# would spin. So a peer without room is asked again after a moment, and no longer after so many seconds.
UNIX_RETRY_S: Final = 0.01
UNIX_PATIENCE_S: Final = 5.0


# Why a reply was dropped: the mistake of the one who made it.
REPLY_TOO_LONG: Final = "reply_too_long"


class ReplyQueue:
    """Sends datagrams in order, and keeps those for which there is no room yet.

    A UDP socket has one buffer for all its peers, so a reply waits behind every earlier one. On a Unix socket it is the
    peer's own queue that is full, so a reply waits behind those to the same peer only, and a peer that does not read is
    nobody else's loss.

    Args:
        sendto: Sends a datagram to a name, as `socket.socket.sendto` does, not blocking.
        drop: Told of each datagram that is not sent, with the reason.
        time: Returns seconds.
        is_unix: Whether it is a Unix socket.
    """

    def __init__(
        self,
        sendto: Callable[[bytes, Any], object],
        drop: Callable[[str], None],
        time: Callable[[], float],
        *,
        is_unix: bool,
    ) -> None:
        self._sendto = sendto
        self._drop = drop
        self._time = time
        self._is_unix = is_unix
        self._count = 0
        self._full: dict[Any, _Full] = {}

    def __bool__(self) -> bool:
        return self._count > 0

    def send(self, data: bytes, name: Any) -> bool:
        """Send one datagram, now or when it is retried; drop it, and return False, when that cannot be."""
        if not name:
            self._drop("unnamed_peer")  # a Unix sender without an address of its own cannot be answered
            return False
        key = name if self._is_unix else None
        full = self._full.get(key)
        if full is None:
            if (taken := self._offer(data, name)) is not None:
                return taken
            full = self._full[key] = _Full(self._time())
        most = MAX_QUEUED_PER_UNIX_PEER if self._is_unix else MAX_QUEUED_REPLIES
        if self._count >= MAX_QUEUED_REPLIES or len(full.replies) >= most:
            if not full.replies:
                del self._full[key]
            self._drop("send_queue_full")
            return False
        full.replies.append((data, name))
        self._count += 1
        return True

    def retry(self) -> None:
        """Send what there is room for now; drop what was kept for a Unix peer that takes nothing."""
        for key, full in list(self._full.items()):
            self._send_kept(full)
            if self._is_unix and self._time() - full.since >= UNIX_PATIENCE_S:
                while full.replies:
                    self._take(full)
                    self._drop("peer_queue_full")
            if not full.replies:
                self._full.pop(key, None)

    def clear(self) -> None:
        """Forget what is kept."""
        for full in self._full.values():
            full.replies.clear()
        self._full.clear()
        self._count = 0

    def _send_kept(self, full: _Full) -> None:
        while full.replies:
            data, name = self._take(full)  # first: an observer of a drop may send, or clear
            if self._offer(data, name) is None:
                full.replies.appendleft((data, name))
                self._count += 1
                return
            full.since = self._time()

    def _take(self, full: _Full) -> tuple[bytes, Any]:
        self._count -= 1
        return full.replies.popleft()

    def _offer(self, data: bytes, name: Any) -> bool | None:
        """Return whether the kernel took it; None when it is to be tried again."""
        try:
            self._sendto(data, name)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            # The peer's port is closed, its path is gone, or the datagram is too long for the network or the socket.
            self._drop(REPLY_TOO_LONG if error.errno == EMSGSIZE else type(error).__name__)
            return False
        return True


class _Full:
    """What waits behind one full queue, and since when none of it could be sent."""

    __slots__ = ("replies", "since")

    def __init__(self, since: float) -> None:
        self.replies: deque[tuple[bytes, Any]] = deque()
        self.since = since
