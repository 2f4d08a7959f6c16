"""The options of a server under load: memory, output, datagrams, the loop, and the TCP peers that are no more."""

# ruff: noqa: RUF009  # declare makes a dataclass field, once

from dataclasses import dataclass
from typing import Final

from ..units import Rate
from .kinds import AUTO, Auto, Duration, Frequency, Integer, Size, SystemDuration, Unless
from .option import check_fields, declare

MIB = 1024**2

# tcp(7) and the kernel's tcp.h (MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL): what it refuses, or does not take as it was said.
KEEPALIVE: Final = SystemDuration(tick_s=1.0, max_ticks=32767)
KEEPALIVE_INTERVAL: Final = SystemDuration(never=False, tick_s=1.0, max_ticks=32767)
USER_TIMEOUT: Final = SystemDuration(tick_s=0.001, max_ticks=2**31 - 1)


@dataclass(frozen=True, slots=True)
class OverloadConfig:
    """What all connections together may cost.

    Attributes:
        memory_bytes: What the process may use; its thresholds are 80, 90 and 95 % of it. ``auto``: the limit of its
            control group, and nothing where that has none.
        write_total_bytes: What all peers together may be owed. No peer may be owed more than is left of it, so that
            those who do not read give way while there is room, and no others; above it the one goes whose output has
            not moved for longest. 256 MiB is room for 256 peers at the hard limit of one.
        stall_s: A handler that holds the loop for longer is named, with its stack. None: no watch is kept.
        receive_buffer_bytes: What the kernel may hold of datagrams that are not read yet, for each datagram socket
            (SO_RCVBUF): up to net.core.rmem_max, and more with the right CAP_NET_ADMIN. Linux counts its own part, too,
            and gives twice as much for that. None: net.core.rmem_default, some 250 short datagrams.
        datagram_rate_per_peer: Datagrams handled from one address at once and then in that time; more are dropped.
        datagram_amplification: How many times as large as a datagram, headers included, the answers to it may be
            together. A sender's address can be forged, and what is sent there hits somebody else: QUIC allows 3 times
            (RFC 9000 section 8). Peers on this machine cannot be forged from outside and are not held to it.
    """

    memory_bytes: int | Auto | None = declare(
        AUTO,
        "memory_limit",
        Unless(Size(minimum=16 * MIB, maximum=2**50), auto=True),
        "Overload",
        "Memory limit: stop reading at 80 %, refuse clients at 90 %, close the costliest connections at 95 %",
        default_text="the cgroup's limit, if any",
    )
    write_total_bytes: int | None = declare(
        256 * MIB,
        "write_total",
        Unless(Size(maximum=2**50)),
        "Overload",
        "Maximum pending output of all connections together; clients that do not read give way",
    )
    stall_s: float | None = declare(
        0.1,
        "stall_warning",
        Duration(),
        "Overload",
        "Log a handler that blocks the event loop for longer than this, with its stack",
    )
    receive_buffer_bytes: int | None = declare(
        None,
        "receive_buffer",
        Unless(Size(minimum=4096, maximum=1024 * MIB)),
        "Overload",
        "Bytes of unread datagrams the kernel holds per socket",
        default_text="the kernel's",
    )
    datagram_rate_per_peer: Rate | None = declare(
        None, "datagram_rate_per_peer", Frequency(), "Overload", "Drop datagrams above this rate per remote address"
    )
    datagram_amplification: int | None = declare(
        3,
        "datagram_amplification",
        Unless(Integer(1, 65535)),
        "Overload",
        "Maximum size of replies to a remote datagram, as a multiple of its size",
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class TcpConfig:
    """What the kernel does about TCP peers: finds out that one is no more, and holds little for one that does not read.

    Without the first, a peer whose power failed stays for ever.

    Attributes:
        keepalive_s: After so long without a byte the peer is asked whether it is there, in whole seconds from 1 to
            32767, which is what the kernel takes; None: never.
        keepalive_interval_s: How long is waited between two questions, likewise.
        keepalive_probes: How many without an answer end the connection.
        user_timeout_s: The same for output that is not acknowledged, or that a closed window holds up (RFC 5482), in
            whole milliseconds, 24 days at most.
        unsent_bytes: How much output the kernel takes beyond what it can send. By itself it takes up to 4 MiB of each
            peer that does not read (net.ipv4.tcp_wmem), which no limit of this process counts; what is on its way to a
            peer that reads is not held to this, so that a long fat network is as fast as ever. 256 KiB is as much as is
            read at once: half of it costs an echo of 1 MB half as much CPU again, and more saves none. None: what it
            likes.
    """

    keepalive_s: float | None = declare(
        60.0, "tcp_keepalive", KEEPALIVE, "TCP", "Send keep-alive probes after this much silence"
    )
    keepalive_interval_s: float = declare(
        15.0, "tcp_keepalive_interval", KEEPALIVE_INTERVAL, "TCP", "Time between keep-alive probes"
    )
    keepalive_probes: int = declare(
        4, "tcp_keepalive_probes", Integer(1, 127), "TCP", "Drop a connection after this many unanswered probes"
    )
    user_timeout_s: float | None = declare(
        30.0,
        "tcp_user_timeout",
        USER_TIMEOUT,
        "TCP",
        "Drop a connection whose output is not acknowledged for this long",
    )
    unsent_bytes: int | None = declare(
        256 * 1024,
        "tcp_unsent",
        Unless(Size(minimum=4096, maximum=1024**3)),
        "TCP",
        "Maximum unsent output the kernel holds per connection",
    )

    def __post_init__(self) -> None:
        check_fields(self)
