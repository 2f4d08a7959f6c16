"""The options of a server: one field each, with all that its flag, variable, TOML key and documentation need.

`Timeouts` and `Limits` flatten into the same list: ``Timeouts.idle_s`` is ``--timeout-idle``, ``PENSTOCK_TIMEOUT_IDLE``
and ``timeout_idle = "5m"``. Every object is checked when it is made and never changes afterwards.
"""

# ruff: noqa: RUF009  # declare makes a dataclass field, once

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from typing import Any, Final, Literal, cast

from ..address import Address, parse_address
from ..errors import ConfigurationError
from ..units import Rate, format_size
from .gate import GateConfig
from .kinds import Bind, Choice, Duration, File, Flag, Frequency, Integer, Mode, Repeated, Size, Text, Unless
from .option import Option, check_fields, declare
from .overload import OverloadConfig, TcpConfig
from .process import ProcessConfig
from .tls import TlsConfig
from .workers import WorkersConfig

Model = Literal["loop", "threads", "one-at-a-time", "process"]
EngineName = Literal["auto", "native", "pure", "blocking"]
BadMessages = Literal["service", "close", "skip"]
AfterCloseAction = Literal["log", "cancel"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["console", "json", "logfmt"]
MessageRateAction = Literal["pause", "close"]
SlowConsumer = Literal["disconnect", "raise", "drop_oldest", "drop_newest"]
OnFull = Literal["disconnect", "raise", "drop", "drop_newest", "drop_oldest", "latest"]  # of one message

# Of the fields of `Limits`, those that one connection may have for itself: the others are buffers and turns that it
# shares.
CONNECTION_LIMITS: Final = ("write_high_bytes", "write_low_bytes", "write_max_bytes", "slow_consumer")


class DefaultSeconds(float):
    """A duration that is nobody's choice: a service may declare another."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take, each in seconds, None for ever.

    Attributes:
        handshake_s: From where a handler says that the peer has to show who it is (``conn.begin_handshake``) to where
            it has. Until then nothing else is held against the peer.
        first_message_s: From the connection to the end of its first message.
        idle_s: Without a byte in either direction.
        message_s: From the first byte of one message to its last.
        write_s: Without progress while the peer owes reading what was written.
        lifetime_s: From the connection to its end, whatever happens on it.
        drain_s: From the order to stop to the moment when what is still open is cut.
        linger_s: After closing: how long what the peer still sends is read and dropped. A socket closed with unread
            input answers with a reset, and a reset destroys the last reply on its way (RFC 1122 section 4.2.2.13).
        message_bytes_per_s: The slowest that a long message may come once ``message_s`` is over: each whole time that
            many bytes of it have come, it is given another second. None: it has ``message_s``, however long it is.
        after_close_s: From the end of a connection, or from the last message begun after it, until a handler that is
            still at work is logged, or cancelled (``on_after_close``).
        receive_idle_s: In place of ``idle_s``, where it is not None: what is sent to a peer does not keep it from being
            idle, as long as it may send (a keepalive of MQTT).
        drain_spread_s: Over how long, as a part of ``drain_s``, connections are told that the server drains, in random
            order, so that their peers do not all come back at once; until its turn each is served as ever.
    """

    handshake_s: float | None = declare(
        DefaultSeconds(10.0),
        "timeout_handshake",
        Duration(),
        "Timeouts",
        "Abort a client that has not finished its handshake in time, if the handler asks for one",
    )
    first_message_s: float | None = declare(
        DefaultSeconds(10.0),
        "timeout_first_message",
        Duration(),
        "Timeouts",
        "Close a connection that has not sent a complete first message in time",
    )
    idle_s: float | None = declare(
        DefaultSeconds(300.0),
        "timeout_idle",
        Duration(),
        "Timeouts",
        "Close a connection after this long without traffic",
    )
    message_s: float | None = declare(
        DefaultSeconds(30.0),
        "timeout_message",
        Duration(),
        "Timeouts",
        "Maximum time to receive one message, first byte to last",
    )
    write_s: float | None = declare(
        DefaultSeconds(30.0),
        "timeout_write",
        Duration(),
        "Timeouts",
        "Abort a client that reads none of its pending output for this long",
    )
    lifetime_s: float | None = declare(None, "timeout_lifetime", Duration(), "Timeouts", "Maximum age of a connection")
    drain_s: float | None = declare(
        DefaultSeconds(25.0),
        "timeout_drain",
        Duration(zero=True),
        "Timeouts",
        "How long connections may take to finish at shutdown",
    )
    linger_s: float | None = declare(
        DefaultSeconds(2.0),
        "timeout_linger",
        Duration(zero=True),
        "Timeouts",
        "After closing, discard late input for this long so that the last reply arrives",
    )
    message_bytes_per_s: int | None = declare(
        64 * 1024,
        "min_message_rate",
        Unless(Size()),
        "Timeouts",
        "Extend `--timeout-message` by one second for each SIZE of the message received",
    )
    after_close_s: float | None = declare(
        60.0,
        "timeout_after_close",
        Duration(),
        "Timeouts",
        "Report a handler that is still at work this long after its connection ended",
    )
    receive_idle_s: float | None = declare(
        None,
        "timeout_receive_idle",
        Duration(),
        "Timeouts",
        "Close a connection that has sent nothing for this long, even while it is sent something; replaces "
        "`--timeout-idle`",
    )
    drain_spread_s: float = declare(
        0.0,
        "drain_spread",
        Duration(zero=True, never=False),
        "Timeouts",
        "Close connections in random order over this long at shutdown",
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def merged(self, **overrides: float | None) -> "Timeouts":
        """Return a copy with some fields replaced, each named as here; the same where none is.

        Raises:
            ConfigurationError: An unknown name, or a value that is refused.
        """
        known = [spec.name for spec in dataclasses.fields(self)]
        for name in overrides:
            if name not in known:
                raise ConfigurationError(f"unknown name {name}; known are {', '.join(known)}", "Timeouts")
        return dataclasses.replace(self, **cast("Any", overrides)) if overrides else self

    def suited(self, suits: Mapping[str, float | None]) -> "Timeouts":
        """Return a copy with the values that a service declares, but for the fields that were chosen.

        Raises:
            ConfigurationError: As `merged`.
        """
        suited = self.merged(**suits)
        asked = {
            spec.name: value
            for spec in dataclasses.fields(self)
            if not isinstance(value := getattr(self, spec.name), DefaultSeconds)
            and (isinstance(spec.default, DefaultSeconds) or value != spec.default)
        }
        return suited.merged(**asked)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one connection may hold or take at once.

    Attributes:
        write_high_bytes: Above it ``send`` waits, and a server does not read the connection; a client reads on.
        write_low_bytes: At or below it both go on.
        write_max_bytes: The hard limit of what one peer can be owed. What would be above it meets ``slow_consumer``.
        read_bytes: The most that is read from a socket at once; one that holds more, not received yet, is read
            no further.
        batch_messages: The most messages handled for one connection before others get their turn.
        slow_consumer: What ``post`` does when the peer would be owed more. ``disconnect``: abort the connection.
            ``raise``: raise QueueFullError, with nothing queued. ``drop_oldest``: give up what was posted first and has
            not left, not even in part. ``drop_newest``: give up the message itself. Drops are counted and told. What is
            not posted, replies and what ``send`` waited for, is never dropped: its peer is disconnected.
        max_message_rate: How many messages of one connection are handled at once, and then in that time: a token
            bucket. None: as many as come. Not of datagrams: those have ``datagram_rate_per_peer``.
        on_message_rate: What happens to a peer that sends more. ``pause``: its messages wait, and it is read no further
            until the next one may be handled. ``close``: its connection closes with ``message_rate``.
    """

    write_high_bytes: int = declare(
        64 * 1024, "write_high", Size(), "Limits", "Stop reading from a connection with more pending output than this"
    )
    write_low_bytes: int = declare(
        16 * 1024, "write_low", Size(minimum=0), "Limits", "Resume reading when its pending output falls to this"
    )
    write_max_bytes: int = declare(1024 * 1024, "write_max", Size(), "Limits", "Maximum pending output per connection")
    read_bytes: int = declare(
        256 * 1024, "read_size", Size(maximum=64 * 1024**2), "Limits", "Maximum bytes per read from a socket"
    )
    batch_messages: int = declare(
        256,
        "batch_messages",
        Integer(1, 1_000_000),
        "Limits",
        "Maximum messages handled from one connection before the others get a turn",
    )
    slow_consumer: SlowConsumer = declare(
        "disconnect",
        "slow_consumer",
        Choice(("disconnect", "raise", "drop_oldest", "drop_newest")),
        "Limits",
        "What happens when a message is posted to a client with too much pending output",
    )
    max_message_rate: Rate | None = declare(
        None,
        "max_message_rate",
        Frequency(),
        "Limits",
        "Handle at most RATE messages of each connection, e.g. 100/s",
    )
    on_message_rate: MessageRateAction = declare(
        "pause",
        "on_message_rate",
        Choice(("pause", "close")),
        "Limits",
        "What happens to a peer that sends faster than --max-message-rate",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for lower, upper in (("write_low_bytes", "write_high_bytes"), ("write_high_bytes", "write_max_bytes")):
            small, large = getattr(self, lower), getattr(self, upper)
            if small > large:
                raise ConfigurationError(
                    f"{lower.removesuffix('_bytes')} is {format_size(small)}, above "
                    f"{upper.removesuffix('_bytes')} with {format_size(large)}",
                    f"Limits.{lower}",
                )

    def merged(self, **overrides: int | str) -> "Limits":
        """Return a copy for one connection, with some of `CONNECTION_LIMITS` replaced; the same where none is.

        Raises:
            ConfigurationError: A name is none of them, or a value is refused.
        """
        for name in overrides:
            if name not in CONNECTION_LIMITS:
                raise ConfigurationError(
                    f"a connection has no {name} of its own; it has {', '.join(CONNECTION_LIMITS)}", "Limits"
                )
        return dataclasses.replace(self, **cast("Any", overrides)) if overrides else self


class DefaultThreads(int):
    """A default bound, not one that was set: an engine whose threads wait for their peers has another of its own."""

    __slots__ = ()


# What the standard library's ThreadPoolExecutor takes: handlers mostly wait, and more threads cost more than they give.
DEFAULT_THREADS: Final = DefaultThreads(min(32, (os.cpu_count() or 1) + 4))


class DefaultBind(tuple[str, ...]):
    """Default addresses, not ones that were set: sockets that a service manager hands down take their place."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Everything about a server that is not its service.

    Attributes:
        bind: Addresses to listen on, at least one. Where none are given, the sockets that a service manager opened.
        codec: A codec spec, ``name`` or ``name:key=value,…``; None for the service's own.
        bad_messages: What is done with a message that cannot be decoded while the next one can: what the ``service``
            says (``on_bad_message``), ``close`` the connection, or ``skip`` it.
        model: What runs the handlers: ``loop`` (all connections in turn on one thread), ``threads`` (a pool),
            ``one-at-a-time`` (one connection; the others wait in the backlog), or ``process`` (a process for each
            connection).
        threads: Most threads that handlers may occupy; on the blocking engine, most connections.
        max_processes: Most processes that ``--as exec`` and ``--as filter`` have at once; above it
            connections and lines wait. With ``--model process``, most connections.
        program_timeout_s: How long a program of ``--as filter`` may take to answer a line; then it is killed.
        engine: What moves the bytes; ``auto`` takes the best there is.
        backlog: Connections the kernel may hold until they are accepted.
        reuse_address: Whether an address in TIME_WAIT may be bound again.
        uds_mode: Permissions of a Unix socket's file.
        uds_owner: Whose a Unix socket's file is, as ``USER``, ``USER:GROUP`` or ``:GROUP``; None: the process's, or its
            ``process.user``'s.
        once: Serve one connection's first message, then end.
        on_after_close: What happens to a handler that is at work ``timeouts.after_close_s`` after its connection: it is
            logged, with the place where it waits, or cancelled too. One in a thread is logged.
        gate: Who is let in.
        timeouts: How long things may take.
        limits: How much a connection may hold.
        overload: How much all of them may hold together.
        tcp: How dead peers are found.
        tls: What is shown to clients of TLS, and asked of them.
        process: What is the whole process's.
        supervisor: How many workers it has, and when they are replaced.
        log_level: The least severe events that are logged.
        log_format: How they are written.
        log_config: A file that sets up logging instead of the two; a program sets up its own, and does not read it.
        access_log: Whether each connection is logged when it ends.
        warn_public: Whether listening beyond this machine without TLS is warned about.
    """

    bind: tuple[str, ...] = declare(
        DefaultBind(("tcp://127.0.0.1:9000",)),
        "bind",
        Repeated(Bind()),
        "Listening",
        "Address to listen on: tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, …; repeatable",
        short="-b",
    )
    codec: str | None = declare(
        None,
        "codec",
        Text(
            "CODEC",
            "a codec's name, with its options as name:key=value,key=value; your own as module:object",
            optional=True,
        ),
        "Service",
        "How the stream is split into messages; `penstock services` lists the codecs",
        default_text="the service's own",
    )
    bad_messages: BadMessages = declare(
        "service",
        "bad_messages",
        Choice(("service", "close", "skip")),
        "Service",
        "What to do with a message that cannot be decoded while the next one can: what the service says, close the "
        "connection, or skip the message",
    )
    model: Model = declare(
        "loop",
        "model",
        Choice(("loop", "threads", "one-at-a-time", "process")),
        "Concurrency",
        "Run handlers on the event loop, in a thread pool, one connection at a time, or each connection in a process",
        shorthands={"--one-at-a-time": "one-at-a-time"},
    )
    threads: int = declare(
        DEFAULT_THREADS,
        "threads",
        Integer(1, 1024),
        "Concurrency",
        "Maximum handler threads; the blocking engine uses one per connection",
        default_text="CPUs + 4, at most 32; 256 with --engine blocking",
    )
    max_processes: int = declare(
        64,
        "max_processes",
        Integer(1, 65536),
        "Concurrency",
        "Maximum processes of --model process (one per connection), --as exec and --as filter; above it connections "
        "and lines wait",
    )
    program_timeout_s: float = declare(
        10.0, "timeout_program", Duration(), "Concurrency", "How long a program of --as filter may take for a line"
    )
    engine: EngineName = declare(
        "auto", "engine", Choice(("auto", "native", "pure", "blocking")), "Concurrency", "I/O engine"
    )
    backlog: int = declare(
        1024,
        "backlog",
        Integer(1, 65535),
        "Listening",
        "Connections the kernel queues before they are accepted",
    )
    reuse_address: bool = declare(
        True, "reuse_address", Flag(), "Listening", "Reuse an address that old connections still hold in TIME_WAIT"
    )
    uds_mode: int = declare(0o600, "uds_mode", Mode(), "Listening", "Permissions of Unix socket files")
    uds_owner: str | None = declare(
        None,
        "uds_owner",
        Text("OWNER", "USER, USER:GROUP or :GROUP, by name or number", optional=True),
        "Listening",
        "Owner of Unix socket files",
        default_text="`--user` and `--group`",
    )
    on_after_close: AfterCloseAction = declare(
        "log",
        "on_after_close",
        Choice(("log", "cancel")),
        "Timeouts",
        "What happens to a handler at --timeout-after-close",
    )
    once: bool = declare(False, "once", Flag(), "Service", "Serve one client's first message, then exit")
    gate: GateConfig = field(default_factory=GateConfig, metadata={"group": GateConfig})
    timeouts: Timeouts = field(default_factory=Timeouts, metadata={"group": Timeouts})
    limits: Limits = field(default_factory=Limits, metadata={"group": Limits})
    overload: OverloadConfig = field(default_factory=OverloadConfig, metadata={"group": OverloadConfig})
    tcp: TcpConfig = field(default_factory=TcpConfig, metadata={"group": TcpConfig})
    tls: TlsConfig = field(default_factory=TlsConfig, metadata={"group": TlsConfig})
    process: ProcessConfig = field(default_factory=ProcessConfig, metadata={"group": ProcessConfig})
    supervisor: WorkersConfig = field(default_factory=WorkersConfig, metadata={"group": WorkersConfig})
    log_level: LogLevel = declare(
        "info",
        "log_level",
        Choice(("debug", "info", "warning", "error", "critical")),
        "Logging",
        "Minimum level to log",
    )
    log_format: LogFormat = declare(
        "console",
        "log_format",
        Choice(("console", "json", "logfmt")),
        "Logging",
        "Log as text, as JSON or as logfmt",
    )
    log_config: str | None = declare(
        None,
        "log_config",
        File("FILE", "the name of a file", optional=True),
        "Logging",
        "Set up logging from this TOML or JSON file instead, as logging.config.dictConfig takes it",
        default_text="none",
    )
    access_log: bool = declare(True, "access_log", Flag(), "Logging", "Log each connection when it closes")
    warn_public: bool = declare(
        True, "warn_public", Flag(), "Listening", "Warn when other machines can connect without TLS"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        seen: dict[Address, str] = {}
        for text in self.bind:
            address = parse_address(text)
            # Port 0 asks for any free port: twice are two.
            if address in seen and address.port != 0:
                twice = text if seen[address] == text else f"{seen[address]} and {text}"
                raise ConfigurationError(f"bind has the same address twice: {twice}", "ServerConfig.bind")
            seen[address] = text
        if self.once and self.supervisor.count is not None:
            raise ConfigurationError(
                "once ends the server after one message, and workers are there to serve many: leave one of them out",
                "ServerConfig.once",
            )


def options() -> tuple[Option, ...]:
    """Return every option of a server, in the order of the documentation: by section, then by field."""
    found = [option for option, _ in _known()]
    order = (
        "Listening",
        "TLS",
        "Service",
        "Concurrency",
        "Workers",
        "Gate",
        "Timeouts",
        "Limits",
        "Overload",
        "TCP",
        "Logging",
        "Process",
    )
    return tuple(sorted(found, key=lambda option: order.index(option.section)))


# The fields of ServerConfig that are dataclasses of options themselves, with their classes.
GROUPS: Final[Mapping[str, Any]] = {
    spec.name: spec.metadata["group"] for spec in dataclasses.fields(ServerConfig) if "group" in spec.metadata
}


def build(values: Mapping[str, object], whole: Mapping[str, object] | None = None) -> ServerConfig:
    """Make a `ServerConfig` from values by option name; what is missing keeps its default, unknown names are ignored.

    Args:
        values: The values.
        whole: Groups to start from, by their field: ``timeouts``, ``limits``, …

    Raises:
        ConfigurationError: A value is refused, or two contradict each other.
    """
    groups: dict[str, dict[str, object]] = {}
    for option, path in _known():
        if option.name in values:
            group, _, name = path.rpartition(".")
            groups.setdefault(group, {})[name] = values[option.name]
    top = groups.pop("", {}) | dict(whole or {})
    for name, fields in groups.items():
        base = top.get(name, GROUPS[name]())
        if isinstance(base, GROUPS[name]):  # else it is refused as it is
            top[name] = dataclasses.replace(base, **fields)
    return ServerConfig(**cast("dict[str, Any]", top))


def paths() -> dict[str, str]:
    """Return where `ServerConfig` holds each option, by option name: ``timeout_idle`` in ``timeouts.idle_s``."""
    return {option.name: path for option, path in _known()}


def values(config: ServerConfig) -> dict[str, object]:
    """Return every value of a configuration by option name."""
    return {option.name: attrgetter(path)(config) for option, path in _known()}


@cache
def _known() -> tuple[tuple[Option, str], ...]:
    """Return each option with the dotted path of its field in `ServerConfig`."""
    return tuple(_walk(ServerConfig))


def _walk(cls: Any, prefix: str = "") -> Iterator[tuple[Option, str]]:  # Any: a dataclass
    """Yield each option of ``cls`` and of its groups with the dotted path of its field."""
    for spec in dataclasses.fields(cls):
        if "group" in spec.metadata:
            yield from _walk(spec.metadata["group"], f"{prefix}{spec.name}.")
        else:
            yield spec.metadata["option"], prefix + spec.name
