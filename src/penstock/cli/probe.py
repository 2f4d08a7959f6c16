"""``penstock probe``: whether servers accept connections, and how long that takes."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ..address import Address, Kind, Scheme
from ..config.sources import load
from ..errors import ConfigurationError, ConnectTimeoutError, TlsError
from .client import (
    JSON,
    NO_TLS,
    PROXY,
    REFUSED,
    TIMED_OUT,
    TIMEOUT,
    TLS_OPTIONS,
    URL,
    WAIT,
    client_options_of,
    client_tls,
)
from .commands import PenstockCommand
from .params import click_options, given_options

if TYPE_CHECKING:
    from ..client import ClientTls, ConnectResult, SocketOptions
    from ..core.tls import TlsInfo
    from ..core.x509 import Certificate

# Between two attempts of --wait.
RETRY_S: Final = 0.1
# Enough to be done with many soon, and not enough to be taken for a scan.
MAX_AT_ONCE: Final = 128
# What one attempt may have open: two addresses of one name, and what the resolver asks with.
DESCRIPTORS_EACH: Final = 4
# What the process has open besides.
DESCRIPTORS_ELSEWHERE: Final = 24

OPTIONS: Final = [TIMEOUT, WAIT, JSON, PROXY, *TLS_OPTIONS]


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "probe",
        params=[*click_options(OPTIONS), click.Argument(["urls"], metavar="URL...", type=URL, nargs=-1, required=True)],
        callback=_probe,
        help="Check whether each URL accepts a connection, and how long that takes.\n\n"
        "All URLs are tried at once, and nothing is sent. UDP has no connections to probe: use `penstock send "
        "--expect` to ask for a reply.",
        epilog="Exit status: 0 all accept; 1 at least one is refused, unreachable or unknown; 2 usage error; "
        "3 only timeouts; 4 only TLS handshakes that failed.",
    )


def _probe(**_params: Any) -> int:
    ctx = click.get_current_context()
    settings = load(OPTIONS, given=given_options(ctx, OPTIONS)).by_name
    addresses = [_readable(url) for url in ctx.params["urls"]]
    timeout, wait = settings["timeout"].value, settings["wait"].value
    assert isinstance(timeout, float)
    assert isinstance(wait, float)
    values = {name: setting.value for name, setting in settings.items()}
    options, tls = client_options_of(values), client_tls(values)
    results = asyncio.run(probe_all(addresses, timeout_s=timeout, wait_s=wait, options=options, tls=tls))
    if settings["json"].value:
        click.echo(json.dumps([_as_data(result) for result in results], indent=2))
    else:
        _print_table(results)
    failures = [result.error for result in results if result.error is not None]
    if not failures:
        return 0
    if all(isinstance(error.__cause__, TlsError) for error in failures):
        return NO_TLS
    return TIMED_OUT if all(isinstance(error, ConnectTimeoutError) for error in failures) else REFUSED


def _readable(url: str) -> Address:
    from ..client.connect import read_target

    try:
        address, _ = read_target(url, "raw")
    except ConfigurationError as error:
        raise ConfigurationError(error.problem, "URL") from None
    if address.scheme is Scheme.UDP or address.kind is Kind.RAW:
        raise ConfigurationError(
            f"{url}: there is no connection to probe; `penstock send --expect` asks for a reply", "URL"
        )
    return address


async def probe_all(
    addresses: Sequence[Address],
    *,
    timeout_s: float,
    wait_s: float,
    options: "SocketOptions | None" = None,
    tls: "ClientTls | None" = None,
) -> list["ConnectResult"]:
    """Try all addresses at once.

    Args:
        addresses: What to connect to.
        timeout_s: For one attempt.
        wait_s: How long one that fails is tried again.
        options: Of the sockets; None: as `connect` does by default.
        tls: What to trust; likewise.

    Returns:
        What came of the last attempt at each, in their order. No connection is left open.
    """
    from ..server.descriptors import descriptor_limit

    turns = asyncio.Semaphore(at_once(descriptor_limit()))
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + wait_s

    async def probe(address: Address) -> "ConnectResult":
        while True:
            async with turns:
                result = await _try_once(address, timeout_s, options, tls)
            if result.error is None or loop.time() + RETRY_S > give_up_at:
                return result
            await asyncio.sleep(RETRY_S)

    return await asyncio.gather(*map(probe, addresses))


def at_once(limit: int | None) -> int:
    """How many attempts go on at once in a process that may have ``limit`` descriptors open; None is no limit."""
    if limit is None:
        return MAX_AT_ONCE
    return min(MAX_AT_ONCE, max(1, (limit - DESCRIPTORS_ELSEWHERE) // DESCRIPTORS_EACH))


async def _try_once(
    address: Address, timeout_s: float, options: "SocketOptions | None", tls: "ClientTls | None"
) -> "ConnectResult":
    from ..client import ClientTimeouts, ClientTls, SocketOptions, try_connect

    timeouts = ClientTimeouts(connect_s=timeout_s, linger_s=0.0)
    result = await try_connect(
        address, codec="raw", timeouts=timeouts, options=options or SocketOptions(), tls=tls or ClientTls()
    )
    if result.connection is not None:
        result.connection.close()
        await result.connection.wait_closed()
    return result


def _as_data(result: "ConnectResult") -> dict[str, object]:
    connection = result.connection
    return {
        "address": result.address,
        "accepts": result.error is None,
        "peer": None if connection is None else str(connection.peer),
        "errno": result.errno,
        "errno_name": result.errno_name,
        "phase": result.phase,
        "error": None if result.error is None else result.error.problem,
        "resolve_s": result.resolve_s,
        "connect_s": result.connect_s,
        "handshake_s": result.handshake_s,
        "tls": None if connection is None or connection.tls is None else _tls_as_data(connection.tls),
    }


def _tls_as_data(tls: "TlsInfo") -> dict[str, object]:
    leaf = tls.certificate
    return {
        "version": tls.version,
        "cipher": tls.cipher,
        "bits": tls.bits,
        "alpn": tls.alpn,
        "certificate": None if leaf is None else _certificate_as_data(leaf),
        "chain": [_certificate_as_data(each) for each in tls.chain],
    }


def _certificate_as_data(certificate: "Certificate") -> dict[str, object]:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names),
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
        "days_left": round(certificate.days_left(time.time()), 1),
        "pin": certificate.pin,
        "sha256": certificate.fingerprint,
    }


def _print_table(results: Sequence["ConnectResult"]) -> None:
    has_tls = any(result.handshake_s is not None for result in results)
    head = ["RESOLVE", "CONNECT", *(["HANDSHAKE"] if has_tls else [])]
    rows = [["ADDRESS", "RESULT", *head, ""]]
    rows += [
        [
            result.address,
            result.errno_name,
            milliseconds(result.resolve_s),
            _time(result.connect_s),
            *([_time(result.handshake_s)] if has_tls else []),
            "" if result.error is None else result.error.problem,
        ]
        for result in results
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for address, outcome, *times, problem in rows:
        cells = [address.ljust(widths[0]), outcome.ljust(widths[1])]
        cells += [text.rjust(width) for text, width in zip(times, widths[2:-1], strict=True)]
        click.echo("  ".join([*cells, problem]).rstrip())
    for result in results:
        if result.connection is not None and result.connection.tls is not None:
            _print_tls(result.address, result.connection.tls)


def _print_tls(address: str, tls: "TlsInfo") -> None:
    """Show what was agreed, and whose certificate it is."""
    alpn = f", {tls.alpn}" if tls.alpn else ""
    click.echo(f"\n{address}: {tls.version}, {tls.cipher} ({tls.bits} bits){alpn}")
    leaf = tls.certificate
    if leaf is not None:
        click.echo(f"  certificate  {leaf.subject}")
        click.echo(f"  for          {', '.join(leaf.names) or '-'}")
        click.echo(f"  signed by    {leaf.issuer}")
        click.echo(f"  valid until  {leaf.not_after:%Y-%m-%d}, {leaf.days_left(time.time()):.0f} days")
        click.echo(f"  pin          {leaf.pin}")
        for above in tls.chain[1:]:
            until = f"until {above.not_after:%Y-%m-%d}, {above.days_left(time.time()):.0f} days"
            click.echo(f"  sent with it {above.subject}, signed by {above.issuer}, {until}")


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else milliseconds(seconds)


def milliseconds(seconds: float) -> str:
    """Write a short time for people."""
    return f"{seconds * 1000:.2f} ms"
