"""The options of `serve` and `run`, as a type checker sees them.

Made by ``make docs-tables`` from the options' one description; not to be edited.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict

from ..units import Rate
from .gate import GateConfig
from .options import Limits, Timeouts
from .overload import OverloadConfig, TcpConfig


class ServerOptions(TypedDict, total=False):
    """Every option of a server, as in ``penstock.toml``: ``ServerOptions(timeout_idle="5m", max_connections=5)``."""

    host: str | None
    """Listen on this host, over TCP; a short form of ``bind``. Default: 127.0.0.1."""
    port: int | None
    """Listen on this port, over TCP; a short form of ``bind``. Default: 9000."""
    bind: str | Sequence[str] | None
    """Listen there: tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, …; give it again for one more address. Default:
    tcp://127.0.0.1:9000.
    """
    backlog: int
    """Let the kernel hold that many connections until they are accepted. Default: 1024."""
    reuse_address: bool
    """Bind an address that old connections still hold in TIME_WAIT. Default: true."""
    uds_mode: str | int
    """Permissions of a Unix socket's file. Default: 0600."""
    warn_public: bool
    """Warn when listening beyond this machine without TLS. Default: true."""
    once: bool
    """Serve one client's first message, then exit. Default: false."""
    model: Literal["loop", "threads", "one-at-a-time"]
    """Run handlers on one loop, in a pool of threads, or serve one connection while others wait. Default: loop."""
    threads: int
    """Have at most that many threads for handlers; on the blocking engine each connection has one. Default: CPUs + 4,
    at most 32; 256 with --engine blocking.
    """
    engine: Literal["auto", "native", "pure", "blocking"]
    """What moves the bytes. Default: auto."""
    max_connections: int | Literal["auto", "none"] | None
    """Have at most that many connections open. Default: 10,000, or what 9/10 of the descriptor limit allow."""
    max_per_peer: int | Literal["auto", "none"] | None
    """Have at most that many of them from one address. Default: a quarter of `--max-connections`, or of `--threads`
    with --engine blocking; peers on this machine are not counted.
    """
    peer_prefix_ipv4: int
    """Take IPv4 peers for one that have so many leading bits in common. Default: 32."""
    peer_prefix_ipv6: int
    """Take IPv6 peers for one that have so many leading bits in common. Default: 64."""
    max_handshakes: int | Literal["auto", "none"] | None
    """Let nobody in while that many peers have yet to show who they are. Default: a tenth of `--max-connections`, or of
    `--threads` with --engine blocking.
    """
    accept_rate: str | Rate | None
    """Admit that many connections at once, and so many again in that time. Default: none."""
    accept_rate_per_peer: str | Rate | None
    """Admit that many from one address at once, and in that time. Default: none."""
    allow: str | Sequence[str]
    """Let nobody in but these; the longest prefix decides."""
    deny: str | Sequence[str]
    """Do not let these in; the longest prefix decides."""
    reserve_for: str | Sequence[str]
    """Let these in even when the server is full."""
    reserve: int
    """Keep that many connections for those of `--reserve-for`. Default: 8."""
    on_refusal: str | Sequence[str]
    """Answer the refused by a reset or a close, or leave them in the backlog; a reason can have its own. Default:
    reset.
    """
    refusal_text: str
    """Send this line before a close of `--on-refusal close`."""
    timeout_handshake: str | float | None
    """Abort a peer that has not shown who it is by then, where the handler asks for that. Default: 10s."""
    timeout_first_message: str | float | None
    """Close a peer that has not sent one whole message by then. Default: 10s."""
    timeout_idle: str | float | None
    """Close a connection on which nothing has moved for that long. Default: 5m."""
    timeout_message: str | float | None
    """Close a peer that needs longer for one message, first byte to last. Default: 30s."""
    timeout_write: str | float | None
    """Abort a peer that has not read anything of what it is owed. Default: 30s."""
    timeout_lifetime: str | float | None
    """Close every connection at that age. Default: none."""
    timeout_drain: str | float | None
    """When told to stop, give connections that long to finish. Default: 25s."""
    timeout_linger: str | float | None
    """After closing, read and drop a peer's late input for that long, so that the last reply arrives. Default: 2s."""
    min_message_rate: str | int | None
    """Give a message another second for each time that many bytes of it have come. Default: 64KiB."""
    write_high: str | int
    """Stop reading a connection that is owed more than this. Default: 64KiB."""
    write_low: str | int
    """Read it again when it is owed no more than this. Default: 16KiB."""
    write_max: str | int
    """Let no connection be owed more than this. Default: 1MiB."""
    read_size: str | int
    """Read at most this much from a socket at once. Default: 256KiB."""
    batch_messages: int
    """Handle at most that many messages of one connection before others get their turn. Default: 256."""
    slow_consumer: Literal["disconnect", "raise", "drop_oldest", "drop_newest"]
    """What gives way when a message is posted to a peer that is owed too much. Default: disconnect."""
    memory_limit: str | int | None
    """From 80 % of it on stop reading, from 90 % refuse, from 95 % end the most expensive connections. Default: the
    control group's, if it has one.
    """
    write_total: str | int | None
    """Hold at most so much output for all peers together; those who do not read give way. Default: 256MiB."""
    stall_warning: str | float | None
    """Name a handler that holds the loop for longer, with its stack. Default: 100ms."""
    datagram_rate_per_peer: str | Rate | None
    """Drop what one address sends beyond this. Default: none."""
    datagram_amplification: int | Literal["none"] | None
    """Never answer a datagram of another machine with more than that many times its bytes. Default: 3."""
    tcp_keepalive: str | float | None
    """Ask a peer that has been silent for so long whether it is there. Default: 1m."""
    tcp_keepalive_interval: str | float
    """Ask again after that time. Default: 15s."""
    tcp_keepalive_probes: int
    """Take a peer for dead that has not answered so many times. Default: 4."""
    tcp_user_timeout: str | float | None
    """Take a peer for dead that has not acknowledged output for so long. Default: 30s."""
    tcp_unsent: str | int | None
    """Have the kernel hold at most so much output of a connection beyond what it can send. Default: 256KiB."""
    log_level: Literal["debug", "info", "warning", "error", "critical"]
    """Log events of this severity and above. Default: info."""
    log_format: Literal["console", "json"]
    """Write events for people or, as JSON, for programs. Default: console."""
    access_log: bool
    """Log each connection when it ends. Default: true."""
    gate: GateConfig
    """A whole group of options; those given beside it replace its own."""
    timeouts: Timeouts
    """A whole group of options; those given beside it replace its own."""
    limits: Limits
    """A whole group of options; those given beside it replace its own."""
    overload: OverloadConfig
    """A whole group of options; those given beside it replace its own."""
    tcp: TcpConfig
    """A whole group of options; those given beside it replace its own."""
