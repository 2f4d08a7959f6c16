"""What the kernel is told about TCP peers, once for each listener: accepted sockets inherit it on Linux."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

from ..config import TcpConfig
from ..config.overload import KEEPALIVE, KEEPALIVE_INTERVAL, USER_TIMEOUT
from ..engines.listener import Listener


def set_tcp_options(listener: Listener, config: TcpConfig) -> list[str]:
    """Have the kernel find out when a peer of this listener is no more.

    Returns:
        What the system refused, a sentence each. An option that the system does not have is none of them.
    """
    sock = listener.sock
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or listener.is_datagram:
        return []
    refused: list[str] = []
    for level, name, value, setting in _options(config):
        option = getattr(socket, name, None)
        if option is None:
            continue
        try:
            sock.setsockopt(level, option, value)
        except OSError as error:
            problem = os.strerror(error.errno).lower() if error.errno else str(error)
            refused.append(f"{listener.address}: {setting} is not in force: {name}={value}: {problem}")
    return refused


def _options(config: TcpConfig) -> Iterator[tuple[int, str, int, str]]:
    """Yield each option's level, name and value, and the setting it comes from."""
    tcp = socket.IPPROTO_TCP
    yield socket.SOL_SOCKET, "SO_KEEPALIVE", config.keepalive_s is not None, "tcp_keepalive"
    if config.keepalive_s is not None:
        interval = KEEPALIVE_INTERVAL.ticks(config.keepalive_interval_s)
        yield tcp, "TCP_KEEPIDLE", KEEPALIVE.ticks(config.keepalive_s), "tcp_keepalive"
        yield tcp, "TCP_KEEPINTVL", interval, "tcp_keepalive_interval"
        yield tcp, "TCP_KEEPCNT", config.keepalive_probes, "tcp_keepalive_probes"
    if config.unsent_bytes is not None:
        yield tcp, "TCP_NOTSENT_LOWAT", config.unsent_bytes, "tcp_unsent"
    if config.user_timeout_s is not None:
        yield tcp, "TCP_USER_TIMEOUT", USER_TIMEOUT.ticks(config.user_timeout_s), "tcp_user_timeout"
