"""``penstock bench``: a load, and what it met."""

import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ...address import Address, Kind
from ...codecs import Codec
from ...codecs.raw import is_raw
from ...config import Choice, Duration, Integer, Option, Repeated, Size, Text
from ...errors import ConfigurationError, ExitStatus, LocalProtocolError
from ...load.load import Load
from ...load.measured import Measured
from ...load.pace import Pace
from ...load.run import ENGINES, Order, dialler, loop_of, run_here
from ...units import parse_duration
from ..client import (
    HEX,
    JSON,
    REFUSED,
    TIMEOUT,
    TLS_OPTIONS,
    client_options,
    client_timeouts,
    client_tls,
    client_values,
    flag,
    run_client,
)
from ..commands import PenstockCommand
from ..form import Form, read_file
from ..report import fail
from .assertions import Assertion, parse_assertion
from .compare import compare_lines, compared, read_report
from .export import csv, hgrm
from .html import page
from .progress import make_progress
from .report import as_data, lines_of

if TYPE_CHECKING:
    from ...client.tls import ClientTls, Handshake

DEFAULT_SIZE: Final = 64
DEFAULT_DURATION_S: Final = 10.0

OPTIONS: Final = [
    Option(
        name="connections",
        kind=Integer(1, 20_000),
        short="-c",
        help="Concurrent connections",
        default=50,
        section="Load",
    ),
    Option(
        name="depth",
        kind=Integer(1, 10_000),
        help="Maximum requests in flight per connection",
        default=1,
        section="Load",
    ),
    Option(
        name="rate",
        kind=Integer(0, 10_000_000),
        short="-q",
        help="Requests per second in total, whether or not they are answered; 0: as many as are answered",
        default=0,
        section="Load",
    ),
    Option(
        name="ramp",
        kind=Text("FROM:TO:TIME", "two rates and a duration, as 100:5000:30s", optional=True),
        help="Change the rate evenly from FROM to TO requests per second over TIME",
        section="Load",
    ),
    Option(
        name="warmup",
        kind=Duration(zero=True, never=False),
        help="Warm-up time, not counted",
        default=0.0,
        section="Load",
    ),
    Option(
        name="duration",
        kind=Duration(never=False),
        short="-z",
        help="How long to send",
        default_text="10s, or the time of --ramp, or until --count",
        section="Load",
    ),
    Option(
        name="count",
        kind=Integer(0, 10**12),
        short="-n",
        help="Number of requests; 0: until --duration",
        default=0,
        section="Load",
    ),
    Option(
        name="message",
        kind=Text("MESSAGE", "a message as `penstock send` takes it", optional=True),
        help="Message to send as each request",
        section="Load",
    ),
    Option(
        name="from_file",
        kind=Text("PATH", "a path, or - for standard input", optional=True),
        help="Send the contents of a file instead, without its final newline unless the codec is raw",
        section="Load",
    ),
    replace(HEX, help="Read --message, or the file, as hexadecimal", section="Load"),
    Option(
        name="size",
        kind=Size(maximum=64 * 1024**2),
        help="Size of a generated message, for codecs of bytes or text",
        default=DEFAULT_SIZE,
        section="Load",
    ),
    replace(TIMEOUT, help="Count a request without a reply in this time as an error", section="Load"),
    flag("expect_echo", "Count a reply that differs from its request as an error", "Load"),
    Option(
        name="processes",
        kind=Integer(1, 256),
        help="Number of sending processes, if one core is not enough",
        default=1,
        section="Load",
    ),
    Option(
        name="engine",
        kind=Choice(ENGINES),
        help="Load generator: auto is the compiled one where it was built",
        default="auto",
        section="Load",
    ),
    Option(
        name="allow_remote",
        kind=Text("HOST", "the host of the URL", optional=True),
        help="Repeat the host of a remote URL here: load without its owner's consent is an attack",
        section="Load",
    ),
    Option(
        name="assert",
        kind=Repeated(Text("CONDITION", "a condition, as p99<5ms, errors==0 or rate>10000")),
        help="Exit with status 1 unless this holds; repeatable",
        default=(),
        section="Report",
    ),
    Option(
        name="compare",
        kind=Text("PATH", "a path", optional=True),
        help="Compare with an earlier run, saved with --json",
        section="Report",
    ),
    Option(
        name="hgrm",
        kind=Text("PATH", "a path", optional=True),
        help="Write the latency percentiles to this file in HdrHistogram's format, in milliseconds",
        section="Report",
    ),
    Option(
        name="csv",
        kind=Text("PATH", "a path", optional=True),
        help="Write one line per time interval to this file, as CSV",
        section="Report",
    ),
    Option(
        name="html",
        kind=Text("PATH", "a path", optional=True),
        help="Write an HTML report with plots to this file",
        section="Report",
    ),
    replace(JSON, section="Report"),
    *TLS_OPTIONS,
]


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "bench",
        params=client_options(OPTIONS),
        callback=_bench,
        help="Load the server at URL with requests and measure its replies.\n\n"
        "Each request gets one reply. With codec raw, a reply is as many bytes as the request, or one datagram. With "
        "--rate or --ramp, latency is measured from the time a request was due.",
        epilog="Exit status: 0 OK; 1 refused, no reply at all, or an --assert failed; 2 usage error; 3 timeout; "
        "130 interrupted (after the report).",
    )


def _bench(**_params: Any) -> int:
    address, codec, values = client_values(click.get_current_context(), OPTIONS)
    if address.kind is None or address.kind is Kind.RAW:
        raise ConfigurationError(f"{address}: bench loads tcp://, tls://, udp:// and Unix sockets", "URL")
    if address.is_public and values["allow_remote"] != address.host:
        problem = f"{address.host} is not this machine; with its owner's consent add --allow-remote {address.host}"
        raise ConfigurationError(problem, "URL")
    assertions = [parse_assertion(text) for text in values["assert"]]
    old = None if values["compare"] is None else read_report(values["compare"])
    loop_of(values["engine"], ciphered=address.is_tls)
    if values["processes"] > values["connections"]:
        raise ConfigurationError(
            "each process needs a connection of its own: give fewer processes, or more --connections", "--processes"
        )
    pace = _pace(values)
    tls = client_tls(values)
    load = Load(
        address,
        codec,
        _message(codec, address, values),
        connections=values["connections"],
        depth=values["depth"],
        pace=pace,
        warmup_s=values["warmup"],
        duration_s=_duration_s(values, pace),
        count=values["count"] or None,
        timeout_s=values["timeout"],
        expect_echo=values["expect_echo"],
        handshake=_handshake(address, tls),
    )
    _check_records(load)
    names: list[Any] = []
    status = run_client(_reach(load, tls, names), address)
    return status or _run(load, names[0], values, assertions, old)


def _handshake(address: Address, tls: "ClientTls") -> "Handshake | None":
    from ...client.tls import handshake_for

    return handshake_for(address, tls)


def _pace(values: dict[str, Any]) -> Pace | None:
    text = values["ramp"]
    if text is None:
        return Pace(values["rate"], values["rate"]) if values["rate"] else None
    if values["rate"]:
        raise ConfigurationError("--rate and --ramp contradict each other: give one", "--ramp")
    first, _, rest = text.partition(":")
    last, _, time = rest.partition(":")
    try:
        kind = Integer(0, 10_000_000)
        pace = Pace(kind.parse(first), kind.parse(last), parse_duration(time) or 0.0)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{text!r} is not a ramp: {error}; write FROM:TO:TIME, as 100:5000:30s", "--ramp"
        ) from None
    if not pace.ramp_s or not (pace.first or pace.last):
        raise ConfigurationError(f"{text!r} is not a ramp: it takes no time or sends nothing", "--ramp")
    return pace


def _duration_s(values: dict[str, Any], pace: Pace | None) -> float | None:
    duration_s: float | None = values["duration"]
    if duration_s is not None or values["count"]:
        return duration_s
    return pace.ramp_s if pace is not None and pace.ramp_s else DEFAULT_DURATION_S


def _message(codec: Codec[Any], address: Address, values: dict[str, Any]) -> Any:
    form = Form(codec, hex=values["hex"])
    text, path = values["message"], values["from_file"]
    if path is not None:
        if text is not None:
            raise ConfigurationError("--message and --from-file contradict each other: give one", "--from-file")
        data = read_file(path, "--from-file")
        if not is_raw(codec):
            data = data.removesuffix(b"\n").removesuffix(b"\r")
        message, where = form.parse_checked(data, path), "--from-file"
    else:
        message, where = _written(codec, form, values), "--message"
    if address.kind is Kind.STREAM and is_raw(codec) and not message:
        raise ConfigurationError("with the codec raw an empty message is nothing at all", where)
    return message


def _written(codec: Codec[Any], form: Form, values: dict[str, Any]) -> Any:
    text = values["message"]
    if text is None:
        if values["hex"]:
            raise ConfigurationError("it needs --message or --from-file", "--hex")
        if codec.message_type not in {bytes, str}:
            raise ConfigurationError(f"{codec.name} messages are JSON: give the one to send", "--message")
        text = "x" * values["size"]
    return form.parse_checked(os.fsencode(text), "--message")


def _check_records(load: Load) -> None:
    try:
        size = len(load.frame)
    except (LocalProtocolError, TypeError) as error:
        raise ConfigurationError(str(error), "--message") from error
    if load.address.kind is Kind.SEQPACKET and not size:
        raise ConfigurationError("an empty record looks like the end of a connection", "--message")


async def _reach(load: Load, tls: "ClientTls", names: list[Any]) -> int:
    """Connect once: a server that is not there is told of as everywhere else. Keep what its name was resolved to."""
    from ...client import connect

    timeouts = client_timeouts(load.timeout_s)
    async with await connect(load.address, codec="raw", timeouts=timeouts, tls=tls) as conn:
        names.append(load.address.unix_name if load.address.is_unix else conn.peer.sockname)
    return 0


def _run(
    load: Load,
    name: Any,
    values: dict[str, Any],
    assertions: Sequence[Assertion],
    old: Mapping[str, Any] | None,
) -> int:
    progress = make_progress(load)
    interval_s = 0.5 if load.duration_s is None else min(1.0, max(0.1, load.duration_s / 20))
    order = Order(load, dialler(load.address, name), values["engine"], interval_s)
    try:
        if values["processes"] == 1:
            measured = run_here(order, progress.show)
        else:
            from ...load.processes import run_in_processes

            measured = run_in_processes(order, values["processes"], progress.show)
    finally:
        progress.end()
    data = as_data(load, measured)
    data["assertions"] = [{"text": each.text, "holds": each.holds(measured)} for each in assertions]
    if old is not None:
        data["compared"] = compared(old, data)
    if values["json"]:
        click.echo(json.dumps(data, indent=2))
    else:
        lines = [*lines_of(load, measured, len(load.frame))]
        if old is not None:
            lines += ["", *compare_lines(old, data, values["compare"])]
        held = [each.verdict(measured) for each in assertions if each.holds(measured)]
        lines += [*([""] if held else []), *(f"{_tick()} {verdict}" for verdict in held)]
        for line in lines:
            click.echo(line)
    _write_files(load, measured, values, assertions)
    if measured.interrupted:
        return ExitStatus.INTERRUPTED
    failures = [] if measured.latency.count else ["no reply came"]
    failures += [f"assertion failed: {each.verdict(measured)}" for each in assertions if not each.holds(measured)]
    for failure in failures:
        fail(failure)
    return REFUSED if failures else 0


def _tick() -> str:
    """Return the mark of what holds, in what standard output can write."""
    mark = "\N{CHECK MARK}"
    try:
        mark.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "ok"
    return mark


def _write_files(load: Load, measured: Measured, values: dict[str, Any], assertions: Sequence[Assertion]) -> None:
    """Write the reports that were asked for into their files."""
    if values["hgrm"] is not None:
        _write(values["hgrm"], hgrm(measured.told), "--hgrm")
    if values["csv"] is not None:
        _write(values["csv"], csv(measured), "--csv")
    if values["html"] is not None:
        command_line = shlex.join(["penstock", *sys.argv[1:]])
        _write(values["html"], page(load, measured, assertions, command_line, time.time()), "--html")


def _write(path: str, text: str, option: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {(error.strerror or str(error)).lower()}", option) from error
