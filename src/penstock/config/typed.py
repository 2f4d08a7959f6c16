"""The options of `serve` and `run`, as a type checker sees them.

Made by ``make docs-tables`` from the options' one description; not to be edited.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from ..units import Rate
from .gate import GateConfig
from .options import Limits, Timeouts
from .overload import OverloadConfig, TcpConfig
from .process import ProcessConfig
from .tls import TlsConfig
from .workers import WorkersConfig


class ServerOptions(TypedDict, total=False):
    """Every option of a server, as in ``penstock.toml``: ``ServerOptions(timeout_idle="5m", max_connections=5)``."""

    host: str | None
    """Listen on this host, over TCP; a short form of ``bind``. Default: 127.0.0.1."""
    port: int | None
    """Listen on this port, over TCP; a short form of ``bind``. Default: 9000."""
    bind: str | Sequence[str] | None
    """Address to listen on: tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, …; repeatable. Default: tcp://127.0.0.1:9000.
    """
    backlog: int
    """Connections the kernel queues before they are accepted. Default: 1024."""
    reuse_address: bool
    """Reuse an address that old connections still hold in TIME_WAIT. Default: true."""
    uds_mode: str | int
    """Permissions of Unix socket files. Default: 0600."""
    uds_owner: str | None
    """Owner of Unix socket files. Default: `--user` and `--group`."""
    warn_public: bool
    """Warn when other machines can connect without TLS. Default: true."""
    tls_cert: str | Sequence[str]
    """Certificate with its chain, in PEM; repeatable, clients get the one for the name they ask for."""
    tls_key: str | Sequence[str]
    """Private key, if the file of the certificate does not hold it; repeatable in the same order."""
    tls_client_ca: str | None
    """Require a certificate from each client, signed by an authority of this file. Default: none."""
    tls_client_auth: Literal["auto", "required", "optional", "off"]
    """Whether clients must show a certificate; auto requires it if there is a --tls-client-ca. Default: auto."""
    tls_crl: str | None
    """Refuse client certificates that are revoked by this list. Default: none."""
    tls_min: Literal["1.2", "1.3"]
    """Minimum version of TLS. Default: 1.2."""
    tls_ciphers: str | None
    """Ciphers of TLS 1.2. Default: Python's."""
    alpn: str | Sequence[str]
    """Protocol to offer by ALPN; repeatable, the preferred one first."""
    alpn_required: bool
    """Refuse clients that offer none of the protocols of --alpn. Default: false."""
    tls_dev: bool
    """Use a temporary certificate, for development; the log says what clients have to trust. Default: false."""
    tls_link: Literal["auto", "memory"]
    """Encrypt in compiled code where the engine can, or always with Python's ssl module. Default: auto."""
    bad_messages: Literal["service", "close", "skip"]
    """What to do with a message that cannot be decoded while the next one can: what the service says, close the
    connection, or skip the message. Default: service.
    """
    once: bool
    """Serve one client's first message, then exit. Default: false."""
    model: Literal["loop", "threads", "one-at-a-time", "process"]
    """Run handlers on the event loop, in a thread pool, one connection at a time, or each connection in a process.
    Default: loop.
    """
    threads: int
    """Maximum handler threads; the blocking engine uses one per connection. Default: CPUs + 4, at most 32; 256 with
    --engine blocking.
    """
    max_processes: int
    """Maximum processes of --model process (one per connection), --as exec and --as filter; above it connections and
    lines wait. Default: 64.
    """
    timeout_program: str | float | None
    """How long a program of --as filter may take for a line. Default: 10s."""
    engine: Literal["auto", "native", "pure", "blocking"]
    """I/O engine. Default: auto."""
    workers: int | Literal["auto", "none"] | None
    """Serve with this many processes under a supervisor. Default: none: one process, without a supervisor."""
    timeout_worker: str | float | None
    """Kill and replace a worker whose event loop is held for this long. Default: 30s."""
    timeout_worker_start: str | float | None
    """Give up a worker that is not ready in time. Default: 1m."""
    spare_worker: bool
    """Keep a process ready to replace a worker that ends by itself. Default: true."""
    max_worker_connections: int | Literal["none"] | None
    """Replace a worker that has accepted this many connections, or up to a tenth more. Default: none."""
    max_worker_age: str | float | None
    """Replace a worker that has served for this long, or up to a tenth longer. Default: none."""
    max_worker_memory: str | int | None
    """Replace a worker with this much resident memory, or up to a tenth more. Default: none."""
    max_connections: int | Literal["auto", "none"] | None
    """Maximum open connections. Default: 10,000, or 9/10 of the descriptor limit if lower."""
    max_per_peer: int | Literal["auto", "none"] | None
    """Maximum open connections per remote address. Default: 1/4 of `--max-connections`, or of `--threads` with --engine
    blocking; local clients are not counted.
    """
    peer_prefix_ipv4: int
    """Count IPv4 clients per prefix of this length. Default: 32."""
    peer_prefix_ipv6: int
    """Count IPv6 clients per prefix of this length. Default: 64."""
    max_handshakes: int | Literal["auto", "none"] | None
    """Maximum connections still in their handshake; new clients are refused above it. Default: 1/10 of `--max-
    connections`, or of `--threads` with --engine blocking.
    """
    max_orphans: int | Literal["auto", "none"] | None
    """Maximum handlers still at work after their clients have gone; above it idle ones are cancelled. Default: 1/10 of
    `--max-connections`, or of `--threads` with --engine blocking, at least 8.
    """
    max_sessions: int | Literal["auto", "none"] | None
    """Maximum sessions of datagram senders, for services that keep them; above it senders that were heard only once
    give way. Default: 1/2 of `--max-connections`, or of `--threads` with --engine blocking.
    """
    accept_rate: str | Rate | None
    """Accept at most RATE new connections, e.g. 100/s. Default: none."""
    accept_rate_per_peer: str | Rate | None
    """Accept at most RATE new connections per remote address. Default: none."""
    allow: str | Sequence[str]
    """Allow only these networks (longest prefix wins)."""
    deny: str | Sequence[str]
    """Deny these networks (longest prefix wins)."""
    reserve_for: str | Sequence[str]
    """Accept these networks even when the server is full."""
    reserve: int
    """Connections reserved for the networks of `--reserve-for`. Default: 8."""
    proxy_from: str | Sequence[str]
    """Accept connections from these proxies only, each with a PROXY protocol header that names the client."""
    on_refusal: str | Sequence[str]
    """What refused clients get: a reset, a close, or a wait in the backlog; can be set per reason. Default: reset."""
    refusal_text: str
    """Line to send before closing, with `--on-refusal close`."""
    on_after_close: Literal["log", "cancel"]
    """What happens to a handler at --timeout-after-close. Default: log."""
    timeout_handshake: str | float | None
    """Abort a client that has not finished its handshake in time, if the handler asks for one. Default: 10s."""
    timeout_first_message: str | float | None
    """Close a connection that has not sent a complete first message in time. Default: 10s."""
    timeout_idle: str | float | None
    """Close a connection after this long without traffic. Default: 5m."""
    timeout_message: str | float | None
    """Maximum time to receive one message, first byte to last. Default: 30s."""
    timeout_write: str | float | None
    """Abort a client that reads none of its pending output for this long. Default: 30s."""
    timeout_lifetime: str | float | None
    """Maximum age of a connection. Default: none."""
    timeout_drain: str | float | None
    """How long connections may take to finish at shutdown. Default: 25s."""
    timeout_linger: str | float | None
    """After closing, discard late input for this long so that the last reply arrives. Default: 2s."""
    min_message_rate: str | int | None
    """Extend `--timeout-message` by one second for each SIZE of the message received. Default: 64KiB."""
    timeout_after_close: str | float | None
    """Report a handler that is still at work this long after its connection ended. Default: 1m."""
    timeout_receive_idle: str | float | None
    """Close a connection that has sent nothing for this long, even while it is sent something; replaces `--timeout-
    idle`. Default: none.
    """
    drain_spread: str | float
    """Close connections in random order over this long at shutdown. Default: 0s."""
    write_high: str | int
    """Stop reading from a connection with more pending output than this. Default: 64KiB."""
    write_low: str | int
    """Resume reading when its pending output falls to this. Default: 16KiB."""
    write_max: str | int
    """Maximum pending output per connection. Default: 1MiB."""
    read_size: str | int
    """Maximum bytes per read from a socket. Default: 256KiB."""
    batch_messages: int
    """Maximum messages handled from one connection before the others get a turn. Default: 256."""
    slow_consumer: Literal["disconnect", "raise", "drop_oldest", "drop_newest"]
    """What happens when a message is posted to a client with too much pending output. Default: disconnect."""
    max_message_rate: str | Rate | None
    """Handle at most RATE messages of each connection, e.g. 100/s. Default: none."""
    on_message_rate: Literal["pause", "close"]
    """What happens to a peer that sends faster than --max-message-rate. Default: pause."""
    memory_limit: str | int | None
    """Memory limit: stop reading at 80 %, refuse clients at 90 %, close the costliest connections at 95 %. Default: the
    cgroup's limit, if any.
    """
    write_total: str | int | None
    """Maximum pending output of all connections together; clients that do not read give way. Default: 256MiB."""
    stall_warning: str | float | None
    """Log a handler that blocks the event loop for longer than this, with its stack. Default: 100ms."""
    receive_buffer: str | int | None
    """Bytes of unread datagrams the kernel holds per socket. Default: the kernel's."""
    datagram_rate_per_peer: str | Rate | None
    """Drop datagrams above this rate per remote address. Default: none."""
    datagram_amplification: int | Literal["none"] | None
    """Maximum size of replies to a remote datagram, as a multiple of its size. Default: 3."""
    tcp_keepalive: str | float | None
    """Send keep-alive probes after this much silence. Default: 1m."""
    tcp_keepalive_interval: str | float
    """Time between keep-alive probes. Default: 15s."""
    tcp_keepalive_probes: int
    """Drop a connection after this many unanswered probes. Default: 4."""
    tcp_user_timeout: str | float | None
    """Drop a connection whose output is not acknowledged for this long. Default: 30s."""
    tcp_unsent: str | int | None
    """Maximum unsent output the kernel holds per connection. Default: 256KiB."""
    log_level: Literal["debug", "info", "warning", "error", "critical"]
    """Minimum level to log. Default: info."""
    log_format: Literal["console", "json", "logfmt"]
    """Log as text, as JSON or as logfmt. Default: console."""
    log_config: str | None
    """Set up logging from this TOML or JSON file instead, as logging.config.dictConfig takes it. Default: none."""
    access_log: bool
    """Log each connection when it closes. Default: true."""
    pid_file: str | None
    """Write the process's number to this file while it serves. Default: none."""
    user: str | None
    """Become this user once every address is open. Default: none."""
    group: str | None
    """Become a member of only this group, once every address is open. Default: the user's own groups."""
    umask: str | int | None
    """Permissions to remove from files that the server makes. Default: inherited."""
    chdir: str | None
    """Change to this directory before the service is loaded. Default: none."""
    process_name: str | None
    """What ps and top call the process; 15 bytes are shown. Default: none."""
    control: str | None
    """Unix socket for `penstock ctl`; auto: a path that ctl finds by itself. Default: none."""
    gate: GateConfig | Mapping[str, object]
    """A group of options, whole or some of it; what is given beside it replaces its own."""
    timeouts: Timeouts | Mapping[str, object]
    """A group of options, whole or some of it; what is given beside it replaces its own."""
    limits: Limits | Mapping[str, object]
    """A group of options, whole or some of it; what is given beside it replaces its own."""
    overload: OverloadConfig | Mapping[str, object]
    """A group of options, whole or some of it; what is given beside it replaces its own."""
    tcp: TcpConfig | Mapping[str, object]
    """A group of options, whole or some of it; what is given beside it replaces its own."""
    tls: TlsConfig | Mapping[str, object]
    """A group of options, whole or some of it; what is given beside it replaces its own."""
    process: ProcessConfig | Mapping[str, object]
    """A group of options, whole or some of it; what is given beside it replaces its own."""
    supervisor: WorkersConfig | Mapping[str, object]
    """A group of options, whole or some of it; what is given beside it replaces its own."""


class TimeoutOptions(TypedDict, total=False):
    """The options that a service may set for itself."""

    timeout_handshake: str | float | None
    """Abort a client that has not finished its handshake in time, if the handler asks for one. Default: 10s."""
    timeout_first_message: str | float | None
    """Close a connection that has not sent a complete first message in time. Default: 10s."""
    timeout_idle: str | float | None
    """Close a connection after this long without traffic. Default: 5m."""
    timeout_message: str | float | None
    """Maximum time to receive one message, first byte to last. Default: 30s."""
    timeout_write: str | float | None
    """Abort a client that reads none of its pending output for this long. Default: 30s."""
    timeout_lifetime: str | float | None
    """Maximum age of a connection. Default: none."""
    timeout_drain: str | float | None
    """How long connections may take to finish at shutdown. Default: 25s."""
    timeout_linger: str | float | None
    """After closing, discard late input for this long so that the last reply arrives. Default: 2s."""
    min_message_rate: str | int | None
    """Extend `--timeout-message` by one second for each SIZE of the message received. Default: 64KiB."""
    timeout_after_close: str | float | None
    """Report a handler that is still at work this long after its connection ended. Default: 1m."""
    timeout_receive_idle: str | float | None
    """Close a connection that has sent nothing for this long, even while it is sent something; replaces `--timeout-
    idle`. Default: none.
    """
    drain_spread: str | float
    """Close connections in random order over this long at shutdown. Default: 0s."""
