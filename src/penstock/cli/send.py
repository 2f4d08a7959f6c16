"""``penstock send``: some messages, and the replies to them."""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import Any, Final

import click

from ..address import Address
from ..codecs import Codec
from ..config import Duration, Flag, Option
from ..engines.base import Connection
from ..errors import (
    ConfigurationError,
    ConnectionEndedError,
    ConnectTimeoutError,
    EndOfStreamError,
    LocalProtocolError,
)
from ..units import format_duration
from .client import REFUSED, TIMED_OUT, client_options, client_timeouts, client_values, run_client
from .commands import PenstockCommand
from .connect import make_output
from .messages import is_raw, parse_message, show_message
from .output import Output
from .report import fail

OPTIONS: Final = [
    Option(
        name="timeout",
        kind=Duration(),
        help="Give up when the replies are not there by then, connecting included",
        default=5.0,
        section="Options",
    ),
    Option(
        name="all",
        kind=Flag(),
        help="Print replies until the peer closes, not only one for each message",
        default=False,
        section="Options",
    ),
]


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "send",
        params=[*client_options(OPTIONS), click.Argument(["messages"], metavar="MESSAGE...", nargs=-1, required=True)],
        callback=_send,
        help="Send messages to URL, and print one reply for each.\n\n"
        "Messages of codecs whose messages are no bytes are written and printed as JSON. With the codec raw there are "
        "no messages on the way back: a reply is whatever has arrived.",
        epilog="Exit status: 0; 1 refused, reset, or closed before the last reply; 2 usage; 3 timeout; "
        "5 protocol error.",
    )


def _send(**_params: Any) -> int:
    ctx = click.get_current_context()
    address, codec, values = client_values(ctx, OPTIONS)
    messages = []
    for number, text in enumerate(ctx.params["messages"], 1):
        message = parse_message(os.fsencode(text), codec, f"message {number}")
        try:
            codec.encode(message)  # what cannot be sent is refused before there is a connection
        except (LocalProtocolError, TypeError) as error:
            raise ConfigurationError(str(error), f"message {number}") from error
        messages.append(message)
    return run_client(_exchange(address, codec, messages, values), address)


async def _exchange(address: Address, codec: Codec[Any], messages: list[Any], values: dict[str, Any]) -> int:
    from ..client import connect

    output = make_output(prompt=False)
    exchange = Exchange(messages, output)
    try:
        async with asyncio.timeout(values["timeout"]):
            async with await connect(str(address), codec=codec, timeouts=client_timeouts(None)) as conn:
                await (exchange.until_the_end(conn) if values["all"] else exchange.one_by_one(conn))
    except EndOfStreamError:
        fail(f"{address} closed after {exchange.replies} of {len(messages)} replies")
        return REFUSED
    except ConnectTimeoutError:
        raise
    except TimeoutError:
        # Datagrams have no end but silence.
        if values["all"] and address.is_datagram and exchange.replies:
            return 0
        missing = f"{exchange.replies} of {len(messages)} replies" if exchange.replies else "no reply"
        hint = (
            "\n  a server of lines waits for the end of one: --codec lines"
            if is_raw(codec) and not values["all"]
            else ""
        )
        fail(f"{missing} from {address} within {format_duration(values['timeout'])}{hint}")
        return TIMED_OUT
    finally:
        output.finish()
    return 0


class Exchange:
    """Messages to a peer, and its replies to output.

    Args:
        messages: What is sent.
        output: Where replies are shown.

    Attributes:
        replies: How many have been shown.
    """

    def __init__(self, messages: Sequence[Any], output: Output) -> None:
        self._messages = messages
        self._output = output
        self.replies = 0

    async def one_by_one(self, conn: Connection[Any]) -> None:
        """Send each message once the one before it has its reply.

        Raises:
            EndOfStreamError: The peer ended before the last reply.
            BrokenError, RemoteProtocolError: So did the connection.
        """
        for message in self._messages:
            await conn.send(message)
            self._show(await conn.receive(), conn)

    async def until_the_end(self, conn: Connection[Any]) -> None:
        """Send all messages and the end of them, and show whatever comes until the peer ends.

        Raises:
            BrokenError, RemoteProtocolError: The connection ended otherwise.
        """
        sending = asyncio.create_task(self._send_all(conn))
        try:
            async for reply in conn:
                self._show(reply, conn)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self, conn: Connection[Any]) -> None:
        # That the connection has ended is told to whoever receives, after the last replies.
        with contextlib.suppress(ConnectionEndedError):
            for message in self._messages:
                await conn.send(message)
            if not conn.is_datagram:
                conn.send_eof()

    def _show(self, reply: Any, conn: Connection[Any]) -> None:
        self._output.show(show_message(reply, conn.codec), whole=not is_raw(conn.codec))
        self.replies += 1
