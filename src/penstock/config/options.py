"""The options of a server: one field each, with all that its flag, variable, TOML key and documentation need.

`Timeouts` and `Limits` flatten into the same list: ``Timeouts.idle_s`` is ``--timeout-idle``, ``PENSTOCK_TIMEOUT_IDLE``
and ``timeout_idle = "5m"``. Every object is checked when it is made and never changes afterwards.
"""

# ruff: noqa: RUF009  # _option makes a dataclass field, once

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack, cast

from ..address import Address, parse_address
from ..errors import ConfigurationError
from ..units import format_size
from .kinds import Bind, Choice, Duration, Flag, Integer, Kind, Mode, Repeated, Size, Text

ENV_PREFIX: Final = "PENSTOCK_"

Model = Literal["loop", "threads", "one-at-a-time"]
EngineName = Literal["auto", "native", "pure", "blocking"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["console", "json"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing a user can set, under one name everywhere.

    Attributes:
        name: The TOML key; the flag and the variable are made from it.
        kind: What it accepts.
        help: One sentence without a full stop.
        default: Its value when nothing sets it.
        default_text: What the documentation says instead, where the default depends on the machine.
        section: The heading it stands under in ``--help`` and in the documentation.
        short: A one-letter flag, as ``-b``.
        shorthands: Flags without a value that stand for one: ``{"--one-at-a-time": "one-at-a-time"}``.
    """

    name: str
    kind: Kind
    help: str
    default: object = None
    default_text: str | None = None
    section: str = "Service"
    short: str | None = None
    shorthands: Mapping[str, str] = field(default_factory=dict)

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return ENV_PREFIX + self.name.upper()

    @property
    def default_shown(self) -> str:
        """The default as documentation shows it; empty when there is none."""
        return self.kind.format(self.default) if self.default_text is None else self.default_text


class _Extra(TypedDict, total=False):
    default_text: str
    short: str
    shorthands: Mapping[str, str]


def _option(default: T, name: str, kind: Kind, section: str, help: str, **extra: Unpack[_Extra]) -> T:  # noqa: A002  # the word
    """Make a dataclass field that carries its `Option`. Typed as its default, as `dataclasses.field` is."""
    option = Option(name=name, kind=kind, help=help, default=default, section=section, **extra)
    return field(default=default, metadata={"option": option})


def _check_fields(config: Any) -> None:  # Any: any of the dataclasses below
    """Check each field of ``config`` by its own kind.

    Raises:
        ConfigurationError: One is refused; ``where`` is the name of the class and of the field.
    """
    for spec in dataclasses.fields(config):
        where = f"{type(config).__name__}.{spec.name}"
        value = getattr(config, spec.name)
        option = spec.metadata.get("option")
        if isinstance(option, Option):
            try:
                option.kind.check(value)
            except ConfigurationError as error:
                raise ConfigurationError(error.problem, where) from None
        elif not isinstance(value, group := spec.metadata["group"]):
            raise ConfigurationError(f"expected {group.__name__}, got {type(value).__name__}", where)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take, each in seconds, None for ever.

    Attributes:
        first_message_s: From the connection to the end of its first message.
        idle_s: Without a byte in either direction.
        message_s: From the first byte of one message to its last.
        write_s: Without progress while the peer owes reading what was written.
        lifetime_s: From the connection to its end, whatever happens on it.
        drain_s: From the order to stop to the moment when what is still open is cut.
        linger_s: After closing: how long what the peer still sends is read and dropped. A socket closed with unread
            input answers with a reset, and a reset destroys the last reply on its way (RFC 1122 section 4.2.2.13).
    """

    first_message_s: float | None = _option(
        10.0,
        "timeout_first_message",
        Duration(),
        "Timeouts",
        "Close a peer that has not sent one whole message by then",
    )
    idle_s: float | None = _option(
        300.0, "timeout_idle", Duration(), "Timeouts", "Close a connection on which nothing has moved for that long"
    )
    message_s: float | None = _option(
        30.0,
        "timeout_message",
        Duration(),
        "Timeouts",
        "Close a peer that needs longer for one message, first byte to last",
    )
    write_s: float | None = _option(
        30.0, "timeout_write", Duration(), "Timeouts", "Abort a peer that has not read anything of what it is owed"
    )
    lifetime_s: float | None = _option(
        None, "timeout_lifetime", Duration(), "Timeouts", "Close every connection at that age"
    )
    drain_s: float | None = _option(
        25.0,
        "timeout_drain",
        Duration(zero=True),
        "Timeouts",
        "When told to stop, give connections that long to finish",
    )
    linger_s: float | None = _option(
        2.0,
        "timeout_linger",
        Duration(zero=True),
        "Timeouts",
        "After closing, read and drop a peer's late input for that long, so that the last reply arrives",
    )

    def __post_init__(self) -> None:
        _check_fields(self)

    def merged(self, **overrides: float | None) -> "Timeouts":
        """Return a copy with some fields replaced, each named as here.

        Raises:
            ConfigurationError: An unknown name, or a value that is refused.
        """
        known = [spec.name for spec in dataclasses.fields(self)]
        for name in overrides:
            if name not in known:
                raise ConfigurationError(f"there is no {name}; there are {', '.join(known)}", "Timeouts")
        return dataclasses.replace(self, **overrides)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one connection may hold or take at once.

    Attributes:
        write_high_bytes: Above it the connection is not read and ``send`` waits.
        write_low_bytes: At or below it both go on.
        write_max_bytes: Above it the connection is aborted: the hard limit of what one peer can be owed.
        read_bytes: The most that is read from a socket at once.
        batch_messages: The most messages handled for one connection before others get their turn.
    """

    write_high_bytes: int = _option(
        64 * 1024, "write_high", Size(), "Limits", "Stop reading a connection that is owed more than this"
    )
    write_low_bytes: int = _option(
        16 * 1024, "write_low", Size(minimum=0), "Limits", "Read it again when it is owed no more than this"
    )
    write_max_bytes: int = _option(
        1024 * 1024, "write_max", Size(), "Limits", "Abort a connection that is owed more than this"
    )
    read_bytes: int = _option(
        256 * 1024, "read_size", Size(maximum=64 * 1024**2), "Limits", "Read at most this much from a socket at once"
    )
    batch_messages: int = _option(
        256,
        "batch_messages",
        Integer(1, 1_000_000),
        "Limits",
        "Handle at most that many messages of one connection before others get their turn",
    )

    def __post_init__(self) -> None:
        _check_fields(self)
        for lower, upper in (("write_low_bytes", "write_high_bytes"), ("write_high_bytes", "write_max_bytes")):
            small, large = getattr(self, lower), getattr(self, upper)
            if small > large:
                raise ConfigurationError(
                    f"{lower.removesuffix('_bytes')} is {format_size(small)}, above "
                    f"{upper.removesuffix('_bytes')} with {format_size(large)}",
                    f"Limits.{lower}",
                )


# What the standard library's ThreadPoolExecutor takes: handlers mostly wait, and more threads cost more than they give.
DEFAULT_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Everything about a server that is not its service.

    Attributes:
        bind: Addresses to listen on, at least one.
        codec: A codec spec, ``name`` or ``name:key=value,…``; None for the service's own.
        model: What runs the handlers: ``loop`` (all connections in turn on one thread), ``threads`` (a pool), or
            ``one-at-a-time`` (one connection; the others wait in the backlog).
        threads: Most threads in the pool.
        engine: What moves the bytes; ``auto`` takes the best there is.
        backlog: Connections the kernel may hold until they are accepted.
        reuse_address: Whether an address in TIME_WAIT may be bound again.
        uds_mode: Permissions of a Unix socket's file.
        once: Serve one connection's first message, then end.
        timeouts: How long things may take.
        limits: How much a connection may hold.
        log_level: The least severe events that are logged.
        log_format: How they are written.
        access_log: Whether each connection is logged when it ends.
        warn_public: Whether listening beyond this machine without TLS is warned about.
    """

    bind: tuple[str, ...] = _option(
        ("tcp://127.0.0.1:9000",),
        "bind",
        Repeated(Bind()),
        "Listening",
        "Listen there: tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, …; give it again for one more address",
        short="-b",
    )
    codec: str | None = _option(
        None,
        "codec",
        Text("CODEC", "a codec's name, with its options as name:key=value,key=value", optional=True),
        "Service",
        "How messages are cut from the stream; `penstock services` lists the codecs",
        default_text="the service's own",
    )
    model: Model = _option(
        "loop",
        "model",
        Choice(("loop", "threads", "one-at-a-time")),
        "Concurrency",
        "Run handlers on one loop, in a pool of threads, or serve one connection while others wait",
        shorthands={"--one-at-a-time": "one-at-a-time"},
    )
    threads: int = _option(
        DEFAULT_THREADS,
        "threads",
        Integer(1, 1024),
        "Concurrency",
        "Have at most that many threads in the pool",
        default_text="CPUs + 4, at most 32",
    )
    engine: EngineName = _option(
        "auto", "engine", Choice(("auto", "native", "pure", "blocking")), "Concurrency", "What moves the bytes"
    )
    backlog: int = _option(
        1024,
        "backlog",
        Integer(1, 65535),
        "Listening",
        "Let the kernel hold that many connections until they are accepted",
    )
    reuse_address: bool = _option(
        True, "reuse_address", Flag(), "Listening", "Bind an address that old connections still hold in TIME_WAIT"
    )
    uds_mode: int = _option(0o600, "uds_mode", Mode(), "Listening", "Permissions of a Unix socket's file")
    once: bool = _option(False, "once", Flag(), "Service", "Serve one client's first message, then exit")
    timeouts: Timeouts = field(default_factory=Timeouts, metadata={"group": Timeouts})
    limits: Limits = field(default_factory=Limits, metadata={"group": Limits})
    log_level: LogLevel = _option(
        "info",
        "log_level",
        Choice(("debug", "info", "warning", "error", "critical")),
        "Logging",
        "Log events of this severity and above",
    )
    log_format: LogFormat = _option(
        "console",
        "log_format",
        Choice(("console", "json")),
        "Logging",
        "Write events for people or, as JSON, for programs",
    )
    access_log: bool = _option(True, "access_log", Flag(), "Logging", "Log each connection when it ends")
    warn_public: bool = _option(
        True, "warn_public", Flag(), "Listening", "Warn when listening beyond this machine without TLS"
    )

    def __post_init__(self) -> None:
        _check_fields(self)
        seen: dict[Address, str] = {}
        for text in self.bind:
            address = parse_address(text)
            # Port 0 asks for any free port: twice are two.
            if address in seen and address.port != 0:
                twice = text if seen[address] == text else f"{seen[address]} and {text}"
                raise ConfigurationError(f"bind has the same address twice: {twice}", "ServerConfig.bind")
            seen[address] = text


def options() -> tuple[Option, ...]:
    """Return every option of a server, in the order of the documentation: by section, then by field."""
    found = [option for option, _ in _walk(ServerConfig)]
    order = ("Listening", "Service", "Concurrency", "Timeouts", "Limits", "Logging")
    return tuple(sorted(found, key=lambda option: order.index(option.section)))


def build(values: Mapping[str, object]) -> ServerConfig:
    """Make a `ServerConfig` from values by option name; what is missing keeps its default, unknown names are ignored.

    Raises:
        ConfigurationError: A value is refused, or two contradict each other.
    """
    groups: dict[str, dict[str, object]] = {}
    for option, path in _walk(ServerConfig):
        if option.name in values:
            group, _, name = path.rpartition(".")
            groups.setdefault(group, {})[name] = values[option.name]
    top = groups.pop("", {})
    made = {spec.name: spec.metadata["group"] for spec in dataclasses.fields(ServerConfig) if "group" in spec.metadata}
    for name, fields in groups.items():
        top[name] = made[name](**fields)
    return ServerConfig(**cast("dict[str, Any]", top))


def _walk(cls: Any, prefix: str = "") -> Iterator[tuple[Option, str]]:  # Any: a dataclass
    """Yield each option of ``cls`` and of its groups with the dotted path of its field."""
    for spec in dataclasses.fields(cls):
        if "group" in spec.metadata:
            yield from _walk(spec.metadata["group"], f"{prefix}{spec.name}.")
        else:
            yield spec.metadata["option"], prefix + spec.name
