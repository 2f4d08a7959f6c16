"""``penstock connect``: a terminal, or a filter, at one end of a connection."""

import asyncio
import os
from typing import Any, Final

import click

from ..address import Address
from ..codecs import Codec
from ..config import Duration, Option
from ..engines.base import Connection
from ..errors import ConfigurationError, ConnectionEndedError, LocalProtocolError
from .client import client_options, client_timeouts, client_values, run_client
from .commands import PenstockCommand
from .messages import LineSplitter, is_raw, parse_message, show_message
from .output import Output, PipeOutput, TerminalOutput
from .stdin import InputReader

OPTIONS: Final = [
    Option(
        name="connect_timeout",
        kind=Duration(),
        help="Give up when no connection is made by then",
        default=10.0,
        section="Options",
    ),
    Option(
        name="wait",
        kind=Duration(zero=True),
        help="After the end of input, wait for that much silence where the peer cannot say that it is done (UDP)",
        default=1.0,
        section="Options",
    ),
]


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "connect",
        params=client_options(OPTIONS),
        callback=_connect,
        help="Connect to URL; send standard input, print what comes back.\n\n"
        "With the codec raw, bytes pass as they are, both ways. With any other, each line of input is a message and "
        "each message is printed on a line; messages that are no bytes are written and shown as JSON.",
        epilog="It ends when the peer closes, or after the end of input and the last replies. "
        "Exit status: 0; 1 refused or reset; 2 usage; 3 timeout; 5 protocol error.",
    )


def _connect(**_params: Any) -> int:
    address, codec, values = client_values(click.get_current_context(), OPTIONS)
    return run_client(_converse(address, codec, values), address)


async def _converse(address: Address, codec: Codec[Any], values: dict[str, Any]) -> int:
    from ..client import connect

    interactive = os.isatty(0)
    output = make_output(prompt=interactive)
    conn = await connect(str(address), codec=codec, timeouts=client_timeouts(values["connect_timeout"]))
    async with conn:
        if interactive:
            click.echo(f"connected to {conn.peer}; CTRL+D ends", err=True)
        await Conversation(conn, InputReader(), output, wait_s=values["wait"]).run()
    return 0


def make_output(*, prompt: bool) -> Output:
    """Make the output for what standard output is."""
    if not os.isatty(1):
        return PipeOutput()
    return TerminalOutput(prompt=prompt, erase=os.environ.get("TERM", "dumb") != "dumb")


class Conversation:
    """Input to a peer, and the peer to output, until either ends.

    Args:
        conn: The connection. Who made it closes it.
        reader: The input.
        output: Where messages are shown.
        wait_s: On datagrams, how long a silence after the end of input is the end; None for ever.
    """

    def __init__(self, conn: Connection[Any], reader: InputReader, output: Output, *, wait_s: float | None) -> None:
        self._conn = conn
        self._reader = reader
        self._output = output
        self._wait_s = wait_s
        self._heard = asyncio.Event()

    async def run(self) -> None:
        """Talk until the peer ends, or until the input ended and the last replies have come.

        Raises:
            BrokenError: The connection broke.
            ConfigurationError: A line of input is no message, or one that the codec refuses.
            RemoteProtocolError: The peer broke the codec's rules.
            BrokenPipeError: Nobody reads the output any more.
        """
        sending = asyncio.create_task(self._send_input())
        receiving = asyncio.create_task(self._show_messages())
        try:
            await asyncio.wait([sending, receiving], return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                sending.result()  # what input fails with ends the conversation
                await self._last_replies(receiving)
            if receiving.done():
                receiving.result()
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)
            self._output.finish()

    async def _send_input(self) -> None:
        codec = self._conn.codec
        # A datagram is as large as what is sent at once, so there even raw input goes line by line.
        whole_lines = not is_raw(codec) or self._conn.is_datagram
        lines = LineSplitter(codec.max_frame_bytes, keep_ends=is_raw(codec))
        number = 0
        try:
            self._output.ask()
            while data := await self._reader.read():
                self._output.answered()
                for line in lines.feed(data) if whole_lines else [data]:
                    number += 1
                    await self._send(line, number)
                self._output.ask()
            for line in lines.finish():
                await self._send(line, number + 1)
            if not self._conn.is_datagram:
                self._conn.send_eof()
        except ConnectionEndedError:
            if self._conn.is_datagram:
                raise
            # Why it ended is what receiving ends with, after the last messages.
            await self._conn.wait_closed()

    async def _send(self, line: bytes, number: int) -> None:
        where = f"line {number} of the input"
        message = parse_message(line, self._conn.codec, where)
        try:
            await self._conn.send(message)
        except (LocalProtocolError, TypeError) as error:
            raise ConfigurationError(str(error), where) from error

    async def _show_messages(self) -> None:
        codec = self._conn.codec
        whole = not is_raw(codec)
        async for message in self._conn:
            self._output.show(show_message(message, codec), whole=whole)
            self._heard.set()

    async def _last_replies(self, receiving: "asyncio.Task[None]") -> None:
        """Wait until the peer's end; where there is none, for as long a silence as was asked for."""
        if not self._conn.is_datagram:
            await asyncio.wait([receiving])
            return
        while not receiving.done():
            self._heard.clear()
            heard = asyncio.create_task(self._heard.wait())
            done, _ = await asyncio.wait([heard, receiving], timeout=self._wait_s, return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
            if not done:
                return
