"""What ``serve`` says once it serves."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..address import ANY_HOST, Family, Scheme, parse_address
from ..app import AppServer
from ..codecs.registry import mirrored
from ..config import ServerConfig
from ..core.gate import Gate
from ..core.rules import Rules
from ..core.service import Service


class Ready(Protocol):
    """A server that has begun to serve.

    Attributes:
        service: What it serves.
        gate: Who is let in.
    """

    service: Service[Any]
    gate: Gate

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, with the ports the system chose."""

    @property
    def engine_name(self) -> str:
        """Which engine moves the bytes."""

    @property
    def threads(self) -> int:
        """The most threads that handlers may occupy."""

    @property
    def engine_reason(self) -> str:
        """Why that one."""

    @property
    def tls_reason(self) -> str:
        """What enciphers, and why that; empty where no TLS is spoken."""


def banner(server: Ready, config: ServerConfig, loop: str = "") -> str:
    """Write the banner: where, what, how, why, and what to try next.

    Args:
        server: The server.
        config: Its configuration.
        loop: What the engine runs on, as it follows the engine's name.
    """
    first, *others = server.addresses
    lines = [f"penstock serves {server.service.name} on {first}"]
    lines += [" " * (len(lines[0]) - len(first)) + address for address in others]
    model = config.model if config.model != "threads" else f"threads, at most {server.threads}"
    lines += [
        f"  codec   {server.service.codec.name}",
        f"  engine  {server.engine_name}{loop}: {server.engine_reason}",
        *([f"  tls     {server.tls_reason}"] if server.tls_reason else []),
        f"  model   {model}",
        *workers_line(config),
        f"  gate    {gate_line(server.gate.rules)}",
        f"  try:    {try_line(first, config.codec or server.service.codec.name)}",
        "(Press CTRL+C to quit)",
    ]
    return "\n".join(lines)


def app_banner(server: AppServer, loop: Callable[[str], str]) -> str:
    """Write the banner of an application: where each service listens, and what to try next.

    Args:
        server: The application.
        loop: Says what an engine runs on.
    """
    rows = []
    for name, each in server.servers.items():
        for number, address in enumerate(each.addresses):
            codec = each.service.codec.name
            engine = f"{each.engine_name}{loop(each.engine_name)}"
            rows.append(("", address, "", "") if number else (name, address, codec, engine))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [f"penstock serves {server.app.name}: {', '.join(server.servers)}"]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    first = next((each for each in server.servers.values() if each.addresses), next(iter(server.servers.values())))
    lines += workers_line(first.config)
    in_one = [name for name, each in server.servers.items() if each.is_in_one]
    if in_one and first.config.supervisor.number:
        lines[-1] += f", of which one serves {', '.join(in_one)}"
    if first.addresses:  # a worker may have none, and the banner of the first one is shown
        lines.append(f"  try:  {try_line(first.addresses[0], first.service.codec.name)}")
    lines.append("(Press CTRL+C to quit)")
    return "\n".join(lines)


def workers_line(config: ServerConfig) -> list[str]:
    """Say how many processes serve, where there is a supervisor."""
    number = config.supervisor.number
    return [f"  workers {number}"] if number else []


def gate_line(rules: Rules) -> str:
    """Say how many are let in."""
    limit, per_peer = rules.max_connections, rules.max_per_peer
    text = "no connection limit" if limit is None else f"at most {limit:,} connection{'s' if limit > 1 else ''}"
    if per_peer is not None and (limit is None or per_peer < limit):
        text += f", {per_peer:,} per {'' if rules.loopback_counts else 'remote '}address"
    return text


def try_line(address: str, codec: str) -> str:
    """Write a command that talks to the server at ``address``."""
    parsed = parse_address(address)
    reachable = address
    if parsed.scheme is Scheme.FD:
        return "connect to the socket you passed in"
    if parsed.host in {ANY_HOST, "0.0.0.0", "::"}:  # every address of this machine, of which one is enough
        host = "[::1]" if parsed.family is Family.IPV6 else "127.0.0.1"
        reachable = f"{parsed.scheme}://{host}:{parsed.port}"
    option = "" if codec == "raw" else f" --codec {mirrored(codec)}"
    return f"penstock connect {reachable}{option}"
