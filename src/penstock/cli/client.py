"""What ``connect`` and ``send`` share: their options, their timeouts, and what their exit status says."""

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from ..address import Address, parse_address
from ..codecs import Codec, parse_codec
from ..config import Choice, Duration, Flag, Option, Repeated, Text
from ..config.kinds import File
from ..config.sources import load
from ..errors import (
    BrokenError,
    ConfigurationError,
    ConnectError,
    ConnectTimeoutError,
    DatagramError,
    ProtocolError,
    TlsError,
)
from .params import SCHEMES, CodecSpec, RawText, click_options, given_options, suggestions
from .report import fail, warn

if TYPE_CHECKING:
    from ..client import ClientTimeouts, ClientTls, SocketOptions

# The statuses of client commands (docs/cli.md). A server's 3 says something else.
REFUSED: Final = 1
TIMED_OUT: Final = 3
NO_TLS: Final = 4
PROTOCOL: Final = 5


def flag(name: str, help: str, section: str = "Options") -> Option:  # noqa: A002  # the word
    """Make an option that is off unless it is given."""
    return Option(name=name, kind=Flag(), help=help, default=False, section=section)


# What several client commands have; where it says more in one of them, that is `replace`d.
CODEC: Final = Option(
    name="codec",
    kind=CodecSpec(optional=False),
    help="How the stream is split into messages; `penstock services` lists the codecs",
    default="raw",
    section="Options",
)
TIMEOUT: Final = Option(
    name="timeout",
    kind=Duration(never=False),
    help="Time allowed per attempt",
    default=5.0,
    section="Options",
)
WAIT: Final = Option(
    name="wait",
    kind=Duration(zero=True, never=False),
    help="Keep retrying for this long",
    default=0.0,
    section="Options",
)
_TLS: Final = "TLS"
TLS_OPTIONS: Final = [
    flag("insecure", "Do not verify the server's certificate: any machine in between can read along", _TLS),
    Option(
        name="ca",
        kind=File("FILE", "the name of a PEM file", optional=True),
        help="Trust the certificate authorities of this file only",
        default_text="the system's",
        section=_TLS,
    ),
    Option(
        name="cert",
        kind=File("FILE", "the name of a PEM file", optional=True),
        help="Client certificate, for servers that ask for one",
        section=_TLS,
    ),
    Option(
        name="key",
        kind=File("FILE", "the name of a PEM file", optional=True),
        help="Private key of --cert, if its file does not hold it",
        section=_TLS,
    ),
    Option(
        name="sni",
        kind=Text("NAME", "the name of a host", optional=True),
        help="Host name that the server's certificate has to show",
        default_text="the host of the URL",
        section=_TLS,
    ),
    Option(
        name="alpn",
        kind=Repeated(Text("PROTOCOL", "the name of a protocol"), empty=True),
        help="Protocol to offer by ALPN; repeatable",
        default=(),
        section=_TLS,
    ),
    Option(
        name="pin",
        kind=Repeated(Text("PIN", "sha256/ and base64, as `penstock probe` shows it"), empty=True),
        help="Accept only a server with this public key; repeatable",
        default=(),
        section=_TLS,
    ),
]
PROXY: Final = Option(
    name="proxy_protocol",
    kind=Choice(("off", "v1", "v2")),
    help="Begin with a PROXY protocol header that names this end, as a proxy does",
    default="off",
    section="Options",
)
URL: Final = RawText(Text("URL"), SCHEMES)
HEX: Final = flag("hex", "Read messages and show replies as hexadecimal")
JSON: Final = flag("json", "Print JSON")


def client_options(options: Sequence[Option]) -> list[click.Parameter]:
    """Make the parameters of a client command: the URL, the codec, and ``options``."""
    return [
        click.Argument(["url"], metavar="URL", type=URL),
        *click_options([CODEC, *options], suggestions()),
    ]


def client_values(ctx: click.Context, options: Sequence[Option]) -> tuple[Address, Codec[Any], dict[str, Any]]:
    """Read the command line, and the variable PENSTOCK_CODEC, which a server in the same terminal shares.

    Returns:
        The address, the codec, and the value of each of ``options``.

    Raises:
        ConfigurationError: Something is refused.
    """
    environ: Mapping[str, str] = os.environ
    shared = {CODEC.variable: environ[CODEC.variable]} if CODEC.variable in environ else {}
    known = [CODEC, *options]
    settings = load(known, given=given_options(ctx, known), environ=shared)
    try:
        address = parse_address(ctx.params["url"])
    except ConfigurationError as error:
        raise ConfigurationError(error.problem, "URL") from None
    values: dict[str, Any] = {name: setting.value for name, setting in settings.by_name.items()}
    return address, parse_codec(values["codec"]), values


def client_tls(values: Mapping[str, Any]) -> "ClientTls":
    """Read how TLS is to be spoken; say so where anybody may be at the other end.

    Raises:
        ConfigurationError: A pin has another form.
    """
    from ..client import ClientTls

    if values["insecure"]:
        warn("--insecure: the server's certificate is not verified, and anybody may be at the other end")
    return ClientTls(
        verify=not values["insecure"],
        ca=values["ca"],
        cert=values["cert"],
        key=values["key"],
        server_name=values["sni"],
        pins=values["pin"],
        alpn=values["alpn"],
    )


def client_options_of(values: Mapping[str, Any]) -> "SocketOptions":
    """Read what is sent first."""
    from ..client import SendProxy, SocketOptions

    versions: dict[str, Literal[1, 2]] = {"v1": 1, "v2": 2}
    version = versions.get(values["proxy_protocol"])
    return SocketOptions(proxy=None if version is None else SendProxy(version=version))


def client_timeouts(connect_s: float | None) -> "ClientTimeouts":
    """Wait to connect as long as the user says, and then as long as the user waits.

    A peer that goes on sending after our end is listened to for a moment, so that it meets no reset.
    """
    from ..client import ClientTimeouts

    return ClientTimeouts(connect_s=connect_s, write_s=None, linger_s=0.5)


def run_client(main: Coroutine[Any, Any, int], address: Address) -> int:
    """Run a client of ``address`` to its end.

    Returns:
        The exit status: 0, 1 when the connection could not be made or broke, 3 when time ran out, 4 when there was no
        TLS handshake, 5 when the peer, or the message, broke the codec's rules.
    """
    try:
        return asyncio.run(main)
    except ConnectTimeoutError as error:
        fail(str(error))
        return TIMED_OUT
    except ConnectError as error:
        fail(str(error))
        return NO_TLS if isinstance(error.__cause__, TlsError) else REFUSED
    except DatagramError as error:
        fail(f"{address}: {error}")
        return REFUSED
    except BrokenError as error:
        fail(f"{address}: {words_of(error)}")
        return REFUSED
    except ProtocolError as error:
        fail(f"{address}: {error}")
        return PROTOCOL


def words_of(error: Exception) -> str:
    """Say what ended a connection: in the system's own words where it was the system that said so."""
    cause = error.__cause__
    return cause.strerror.lower() if isinstance(cause, OSError) and cause.strerror else str(error)
