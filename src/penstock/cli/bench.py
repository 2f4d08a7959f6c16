"""``penstock bench``: a load, and what it met."""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from ..address import Kind
from ..codecs import Codec
from ..config import Duration, Flag, Integer, Option, Repeated, Size, Text
from ..errors import ConfigurationError
from .bench_html import page
from .bench_load import Load, LoadRun, Measured
from .bench_report import as_data, lines_of, parse_assertion, rate_of, time_text
from .client import REFUSED, client_options, client_timeouts, client_values, run_client
from .commands import PenstockCommand
from .form import Form
from .report import fail

DEFAULT_SIZE: Final = 64
DEFAULT_DURATION_S: Final = 10.0

OPTIONS: Final = [
    Option(
        name="connections", kind=Integer(1, 20_000), short="-c", help="Connections at once", default=50, section="Load"
    ),
    Option(
        name="depth",
        kind=Integer(1, 10_000),
        help="Most requests on their way on each connection",
        default=1,
        section="Load",
    ),
    Option(
        name="rate",
        kind=Integer(0, 10_000_000),
        help="Send that many requests a second on all together, whatever is answered; 0: as many as are answered",
        default=0,
        section="Load",
    ),
    Option(
        name="duration",
        kind=Duration(never=False),
        help="Send for that long",
        default=None,
        default_text="10s, or until --count",
        section="Load",
    ),
    Option(
        name="count",
        kind=Integer(0, 10**12),
        short="-n",
        help="Send that many requests; 0: until --duration",
        default=0,
        section="Load",
    ),
    Option(
        name="message",
        kind=Text("MESSAGE", "a message as `penstock send` takes it", optional=True),
        help="What each request is",
        section="Load",
    ),
    Option(
        name="size",
        kind=Size(maximum=64 * 1024**2),
        help="Or how long, for messages that are bytes or text",
        default=DEFAULT_SIZE,
        section="Load",
    ),
    Option(
        name="timeout",
        kind=Duration(never=False),
        help="Count a request that is not answered by then as an error",
        default=5.0,
        section="Load",
    ),
    Option(
        name="expect_echo",
        kind=Flag(),
        help="Count a reply that is not what was sent as an error",
        default=False,
        section="Load",
    ),
    Option(
        name="allow_remote",
        kind=Text("HOST", "the host of the URL", optional=True),
        help="Repeat the host here when it is not this machine: loading it is an attack unless its owner agreed",
        section="Load",
    ),
    Option(
        name="assert",
        kind=Repeated(Text("CONDITION", "a condition, as p99<5ms, errors==0 or rate>10000")),
        help="End with status 1 unless this holds; give it again for one more",
        default=(),
        section="Report",
    ),
    Option(
        name="html",
        kind=Text("PATH", "a path", optional=True),
        help="Write a report with plots into this file",
        section="Report",
    ),
    Option(name="json", kind=Flag(), help="Print JSON", default=False, section="Report"),
]


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "bench",
        params=client_options(OPTIONS),
        callback=_bench,
        help="Load the server at URL with requests, and say how fast its replies come.\n\n"
        "One reply is expected to each request. With the codec raw, a reply is as many bytes as the request. With "
        "--rate, latency counts from the moment when a request was due.",
        epilog="Exit status: 0; 1 refused, no reply at all, or --assert does not hold; 2 usage; 3 timeout.",
    )


def _bench(**_params: Any) -> int:
    address, codec, values = client_values(click.get_current_context(), OPTIONS)
    if address.kind is not Kind.STREAM:
        raise ConfigurationError(f"{address}: bench loads streams: tcp:// and unix:", "URL")
    if address.is_public and values["allow_remote"] != address.host:
        problem = f"{address.host} is not this machine; with its owner's consent add --allow-remote {address.host}"
        raise ConfigurationError(problem, "URL")
    assertions = [parse_assertion(text) for text in values["assert"]]
    count = values["count"] or None
    duration_s = values["duration"]
    load = Load(
        address,
        codec,
        _message(codec, values),
        connections=values["connections"],
        depth=values["depth"],
        rate=values["rate"] or None,
        duration_s=DEFAULT_DURATION_S if duration_s is None and count is None else duration_s,
        count=count,
        timeout_s=values["timeout"],
        expect_echo=values["expect_echo"],
    )
    return run_client(_run(load, values, assertions), address)


def _message(codec: Codec[Any], values: dict[str, Any]) -> Any:
    text = values["message"]
    if text is None:
        if codec.message_type not in {bytes, str}:
            raise ConfigurationError(f"{codec.name} messages are written as JSON: say which one is sent", "--message")
        text = "x" * values["size"]
    message = Form(codec).parse_checked(os.fsencode(text), "--message")
    if not codec.encode(message):
        raise ConfigurationError("with the codec raw an empty message is nothing at all", "--message")
    return message


async def _run(load: Load, values: dict[str, Any], assertions: list[Any]) -> int:
    from ..client import connect

    # A server that is not there is told of as everywhere else.
    async with await connect(load.address, codec="raw", timeouts=client_timeouts(load.timeout_s)):
        pass
    progress = Progress(load.duration_s)
    interval_s = 0.5 if load.duration_s is None else min(1.0, max(0.1, load.duration_s / 20))
    run = LoadRun(load, interval_s, progress.show)
    try:
        measured = await run.run()
    finally:
        progress.end()
    frame_bytes = len(run.frame)
    if values["json"]:
        click.echo(json.dumps(as_data(load, measured), indent=2))
    else:
        for line in lines_of(load, measured, frame_bytes):
            click.echo(line)
    if values["html"] is not None:
        _write(values["html"], page(load, measured, frame_bytes))
    failures = [] if measured.latency.count else ["no reply came"]
    failures += [failure for each in assertions if (failure := each.failure(measured)) is not None]
    for failure in failures:
        fail(failure)
    return REFUSED if failures else 0


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {(error.strerror or str(error)).lower()}", "--html") from error


class Progress:
    """One line on standard error, where that is a terminal, that says how it goes.

    Args:
        duration_s: How long it will take; None when that is not known.
    """

    def __init__(self, duration_s: float | None) -> None:
        self._of = "" if duration_s is None else f" of {duration_s:g}"
        self._shown = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._any = False

    def show(self, measured: Measured) -> None:
        """Write it anew."""
        if not self._shown:
            return
        self._any = True
        text = (
            f"{measured.seconds:5.1f}{self._of} s  {rate_of(measured):,.0f} replies/s  "
            f"mean {time_text(measured.told.mean_s)}  {measured.errors.total():,} errors"
        )
        click.echo(f"\r{text[:79]}\x1b[K", nl=False, err=True)

    def end(self) -> None:
        """Take it away."""
        if self._any:
            click.echo("\r\x1b[K", nl=False, err=True)
