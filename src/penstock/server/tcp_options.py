"""What the kernel is told about TCP peers, once for each listener: accepted sockets inherit it on Linux."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from ..config import TcpConfig
from ..engines.listener import Listener


def set_tcp_options(listener: Listener, config: TcpConfig) -> None:
    """Have the kernel find out when a peer of this listener is no more; where it has no such option, do nothing."""
    sock = listener.sock
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or listener.is_datagram:
        return
    for level, name, value in _options(config):
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):  # an old kernel
                sock.setsockopt(level, option, value)


def _options(config: TcpConfig) -> Iterator[tuple[int, str, int]]:
    tcp = socket.IPPROTO_TCP
    yield socket.SOL_SOCKET, "SO_KEEPALIVE", config.keepalive_s is not None
    if config.keepalive_s is not None:
        # The kernel counts these in whole seconds, of which there is at least one.
        yield tcp, "TCP_KEEPIDLE", max(1, round(config.keepalive_s))
        yield tcp, "TCP_KEEPINTVL", max(1, round(config.keepalive_interval_s))
        yield tcp, "TCP_KEEPCNT", config.keepalive_probes
    if config.unsent_bytes is not None:
        yield tcp, "TCP_NOTSENT_LOWAT", config.unsent_bytes
    if config.user_timeout_s is not None:
        yield tcp, "TCP_USER_TIMEOUT", max(1, round(config.user_timeout_s * 1000))
