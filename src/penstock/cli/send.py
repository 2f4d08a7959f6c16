"""``penstock send``: some messages, and the replies to them."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from ..address import Address, Scheme
from ..codecs.raw import is_raw
from ..config import Duration, Integer, Option, Text
from ..core.contract import Connection
from ..errors import BrokenError, ConnectionEndedError, DatagramError, EndOfStreamError, RemoteProtocolError
from ..units import format_duration
from .client import (
    HEX,
    JSON,
    PROTOCOL,
    PROXY,
    REFUSED,
    TIMED_OUT,
    TIMEOUT,
    TLS_OPTIONS,
    client_options,
    client_options_of,
    client_timeouts,
    client_tls,
    client_values,
    flag,
    run_client,
    words_of,
)
from .commands import PenstockCommand
from .connect import make_output
from .expect import Expectation
from .form import Form, read_file
from .output import Output
from .report import fail

# What is kept of a stream of bytes in which --expect looks for its pattern.
SEARCHED_BYTES: Final = 64 * 1024

# A record of TLS with an alert in it (RFC 8446 sections 5.1 and 6): what a server of TLS says to plain text.
ALERT_BYTES: Final = 7

OPTIONS: Final = [
    replace(TIMEOUT, kind=Duration(), help="Time allowed for all replies, including connecting"),
    flag("all", "Print replies until the server closes, not just one per message"),
    Option(name="repeat", kind=Integer(1, 10**9), help="Send the messages N times", default=1, section="Options"),
    Option(
        name="interval",
        kind=Duration(zero=True, never=False),
        help="Pause between messages",
        default=0.0,
        section="Options",
    ),
    Option(
        name="expect",
        kind=Text("REGEX", "a regular expression", optional=True),
        help="Exit with status 0 on the first reply, as shown, that matches; with 1 if none does",
        section="Options",
    ),
    HEX,
    Option(
        name="from_file",
        kind=Text("PATH", "a path, or - for standard input", optional=True),
        help="File to send: as a whole with codec raw, one message per line with other codecs",
        section="Options",
    ),
    replace(JSON, help="Print each reply as a JSON object with its latency in seconds"),
    PROXY,
    *TLS_OPTIONS,
]


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "send",
        params=[*client_options(OPTIONS), click.Argument(["messages"], metavar="[MESSAGE...]", nargs=-1)],
        callback=_send,
        help="Send messages to URL and print one reply per message.\n\n"
        "If the codec's messages are not bytes, they are written and printed as JSON. Codec raw has no message "
        "boundaries: a reply is whatever has arrived.",
        epilog="Exit status: 0 OK; 1 refused, reset, closed before the last reply, or no match for --expect; "
        "2 usage error; 3 timeout; 4 no TLS handshake; 5 protocol error.",
    )


def _send(**_params: Any) -> int:
    ctx = click.get_current_context()
    address, codec, values = client_values(ctx, OPTIONS)
    form = Form(codec, hex=values["hex"])
    texts = enumerate(ctx.params["messages"], 1)
    messages = [form.parse_checked(os.fsencode(text), f"message {number}") for number, text in texts]
    if values["from_file"] is not None:
        messages += form.parse_file(read_file(values["from_file"], "--from-file"), values["from_file"])
    if not messages:
        raise click.UsageError("no message given; give one, or --from-file", ctx)
    return run_client(_exchange(address, form, messages, values), address)


async def _exchange(address: Address, form: Form, messages: Sequence[Any], values: dict[str, Any]) -> int:
    from ..client import connect

    text, timeout_s = values["expect"], values["timeout"]
    until = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
    plan = SendPlan(messages, values["repeat"], values["interval"])
    output = make_output(prompt=False)
    async with contextlib.AsyncExitStack() as stack:
        expected = None if text is None else await stack.enter_async_context(Expectation(text, timeout_s))
        exchange = Exchange(plan, form, output, expected, as_json=values["json"])
        stack.callback(output.finish)
        # What takes too long before there is a connection is told by its own error, in its own words.
        options, tls = client_options_of(values), client_tls(values)
        conn = await connect(address, codec=form.codec, timeouts=client_timeouts(timeout_s), options=options, tls=tls)
        try:
            async with asyncio.timeout_at(until), conn:
                await (exchange.until_the_end(conn) if values["all"] else exchange.one_by_one(conn))
        except EndOfStreamError:
            if expected is None:
                told = f"{address}{_tried(address, conn)} closed after {exchange.replies} of {plan.count} replies"
                fail(told + _end_hint(address, exchange, conn))
                return REFUSED
        except DatagramError:
            raise
        except BrokenError as error:
            fail(f"{address}: {words_of(error)}{_end_hint(address, exchange, conn)}")
            return REFUSED
        except RemoteProtocolError as error:
            fail(f"{address}: {error}{_end_hint(address, exchange, conn)}")
            return PROTOCOL
        except TimeoutError:
            # Datagrams have no end but silence.
            if expected is None and values["all"] and address.is_datagram and exchange.replies:
                return 0
            hint = _hint(exchange, conn, form)
            if expected is not None:
                fail(f"{_missed(address, text)} within {format_duration(timeout_s)}{hint}")
                return REFUSED
            missing = f"{exchange.replies} of {plan.count} replies" if exchange.replies else "no reply"
            fail(f"{missing} from {address}{_tried(address, conn)} within {format_duration(timeout_s)}{hint}")
            return TIMED_OUT
    if expected is not None and not exchange.matched:
        fail(_missed(address, text))
        return REFUSED
    return 0


def _missed(address: Address, text: str) -> str:
    return f"no reply of {address} has a match of {text!r}"


def _tried(address: Address, conn: Connection[Any]) -> str:
    from ..client.failures import tried_of

    return tried_of(address, [str(conn.peer)])


def _end_hint(address: Address, exchange: "Exchange", conn: Connection[Any]) -> str:
    """Say what may be the reason that the peer ended without a reply; empty where it is not likely to be that."""
    if exchange.replies or address.scheme is not Scheme.TCP:
        return ""
    ciphered = replace(address, scheme=Scheme.TLS)
    if conn.bytes_in == ALERT_BYTES:
        return f"\n  {ALERT_BYTES} bytes came, as of an alert of TLS: the port may speak that: {ciphered}"
    if conn.bytes_in:
        return ""
    return f"\n  it said nothing: its log may say why; a port that speaks TLS ends so, too: {ciphered}"


def _hint(exchange: "Exchange", conn: Connection[Any], form: Form) -> str:
    """Say what may be the reason that time ran out, as far as what happened says it; empty where it says nothing."""
    if exchange.is_matching:
        return "\n  the regular expression was still being matched: it tries too much"
    if exchange.replies:
        return ""
    if conn.is_datagram:
        return "\n  a datagram may be lost without a word, and nothing says whether anybody listens"
    if conn.bytes_in:
        return f"\n  {conn.bytes_in} bytes came that are not a complete message of the codec {form.codec.name}"
    if exchange.left_a_line_open:
        return "\n  a server of lines waits for the end of one: --codec lines"
    return ""


@dataclass(frozen=True, slots=True)
class SendPlan:
    """What is sent, and when.

    Attributes:
        messages: In their order.
        repeat: How often all of them are sent.
        interval_s: Between two messages.
    """

    messages: Sequence[Any]
    repeat: int = 1
    interval_s: float = 0.0

    @property
    def count(self) -> int:
        """How many messages are sent."""
        return len(self.messages) * self.repeat

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.repeat):
            yield from self.messages


class Exchange:
    """Messages to a peer, and its replies to output.

    Args:
        plan: What is sent.
        form: How replies are shown.
        output: Where.
        expected: What is looked for in the replies; once it is found, the exchange is over.
        as_json: Whether a reply is shown as an object, with the time it took.

    Attributes:
        replies: How many have been shown.
        matched: Whether what is expected has been found.
        is_matching: Whether it is being looked for.
        left_a_line_open: Whether the bytes that a reply is waited for ended no line.
    """

    def __init__(
        self,
        plan: SendPlan,
        form: Form,
        output: Output,
        expected: Expectation | None = None,
        *,
        as_json: bool = False,
    ) -> None:
        self._plan = plan
        self._form = form
        self._output = output
        self._expected = expected
        self._as_json = as_json
        self._sent_at = 0.0
        self._stream = b""
        self.replies = 0
        self.matched = False
        self.is_matching = False
        self.left_a_line_open = False

    async def one_by_one(self, conn: Connection[Any]) -> None:
        """Send each message once the one before it has its reply.

        Raises:
            EndOfStreamError: The peer ended before the last reply.
            BrokenError, RemoteProtocolError: So did the connection.
        """
        for number, message in enumerate(self._plan):
            if number and self._plan.interval_s:
                await asyncio.sleep(self._plan.interval_s)
            self._sent_at = time.perf_counter()
            await conn.send(message)
            self.left_a_line_open = is_raw(self._form.codec) and not message.endswith(b"\n")
            await self._show(await conn.receive(), conn)
            if self.matched:
                return
        # A stream of bytes may bring what is expected in several pieces.
        while self._expected is not None and is_raw(self._form.codec) and not conn.is_datagram and not self.matched:
            await self._show(await conn.receive(), conn)

    async def until_the_end(self, conn: Connection[Any]) -> None:
        """Send all messages and the end of them, and show whatever comes until the peer ends.

        Raises:
            BrokenError, RemoteProtocolError: The connection ended otherwise.
        """
        self._sent_at = time.perf_counter()
        sending = asyncio.create_task(self._send_all(conn))
        try:
            async for reply in conn:
                await self._show(reply, conn)
                if self.matched:
                    return
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self, conn: Connection[Any]) -> None:
        try:
            for number, message in enumerate(self._plan):
                if number and self._plan.interval_s:
                    await asyncio.sleep(self._plan.interval_s)
                await conn.send(message)
            if not conn.is_datagram:
                conn.send_eof()
        except ConnectionEndedError:
            pass  # the receiving side tells it, after the last replies

    async def _show(self, reply: Any, conn: Connection[Any]) -> None:
        took_s = time.perf_counter() - self._sent_at
        self.replies += 1
        shown = self._form.show(reply)
        if self._as_json:
            self._output.show(self._object(shown, took_s, is_text=self._form.is_text(reply)), whole=True)
        else:
            self._output.show(shown, whole=self._form.whole)
        if self._expected is not None:
            if is_raw(self._form.codec) and not conn.is_datagram:
                joined = self._stream + (b" " if self._form.hex and self._stream else b"") + shown
                self._stream = shown = joined[-SEARCHED_BYTES:]
            self.is_matching = True
            self.matched = await self._expected.is_met_by(shown)
            self.is_matching = False

    def _object(self, shown: bytes, took_s: float, *, is_text: bool) -> bytes:
        value = shown.decode("utf-8", "backslashreplace")
        data = {"reply": value if is_text else json.loads(value), "seconds": round(took_s, 6)}
        return json.dumps(data, ensure_ascii=False).encode()
