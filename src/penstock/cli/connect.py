"""``penstock connect``: a terminal, or a filter, at one end of a connection."""

import asyncio
import os
from collections.abc import Awaitable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Final

import click

from ..address import Address
from ..codecs import Codec
from ..config import Duration
from ..core.contract import Connection
from ..errors import ConnectionEndedError
from .client import (
    HEX,
    PROXY,
    TIMEOUT,
    TLS_OPTIONS,
    WAIT,
    client_options,
    client_options_of,
    client_timeouts,
    client_tls,
    client_values,
    flag,
    run_client,
)
from .commands import PenstockCommand
from .form import Form
from .messages import LineSplitter
from .output import Output, PipeOutput, TerminalOutput
from .silence import Silence
from .stdin import InputReader

OPTIONS: Final = [
    replace(
        TIMEOUT,
        name="connect_timeout",
        kind=Duration(),
        help="Time allowed to connect",
        default=10.0,
    ),
    replace(
        WAIT,
        kind=Duration(zero=True),
        help="How long to wait for replies after the end of input, over UDP and at the prompt",
        default=1.0,
    ),
    replace(HEX, help="Read input and show output as hexadecimal"),
    flag("crlf", "End lines with CR LF (codec raw only)"),
    flag("timestamps", "Show the time of each reply at the prompt"),
    flag(
        "send_empty",
        "At the prompt, Enter alone sends an empty message; with codec raw it always sends a line end",
    ),
    flag("plain", "Use a plain prompt without line editing and history"),
    PROXY,
    *TLS_OPTIONS,
]


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "connect",
        params=client_options(OPTIONS),
        callback=_connect,
        help="Connect to URL, send standard input and print what comes back.\n\n"
        "Codec raw passes bytes unchanged. With any other codec each line of input is one message, and each message "
        "received is printed on one line; messages that are not bytes are written as JSON.\n\n"
        "On a terminal, penstock[cli] adds a prompt with line editing, history and commands; type /help for a list.",
        epilog="Ends when the server closes (the prompt offers to reconnect), or after the end of input and the last "
        "replies. Exit status: 0 OK; 1 refused or reset; 2 usage error; 3 timeout; 4 no TLS handshake; 5 protocol "
        "error.",
    )


def _connect(**_params: Any) -> int:
    address, codec, values = client_values(click.get_current_context(), OPTIONS)
    form = Form(codec, hex=values["hex"], crlf=values["crlf"])
    return run_client(_converse(address, form, values), address)


async def _converse(address: Address, form: Form, values: dict[str, Any]) -> int:
    from ..client import connect

    interactive = os.isatty(0)
    editing = interactive and os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb" and not values["plain"]

    tls, options = client_tls(values), client_options_of(values)
    timeouts = client_timeouts(values["connect_timeout"])

    def dial(codec: Codec[Any]) -> Awaitable[Connection[Any]]:
        return connect(str(address), codec=codec, timeouts=timeouts, options=options, tls=tls)

    conn = await dial(form.codec)
    if editing and find_spec("prompt_toolkit") is not None:
        from .prompt import Prompt, Settings

        settings = Settings(form, timestamps=values["timestamps"], send_empty=values["send_empty"])
        click.echo(f"connected to {conn.peer}; /help lists commands, CTRL+D ends", err=True)
        return await Prompt(conn, address, settings, dial=dial, wait_s=values["wait"]).run()
    async with conn:
        output = make_output(prompt=interactive)
        if interactive:
            hint = "; for line editing install penstock[cli]" if editing else ""
            click.echo(f"connected to {conn.peer}; CTRL+D ends{hint}", err=True)
        # A typed end is meant; the end of a file says nothing of how long the last reply may take.
        wait_s = values["wait"] if interactive or conn.is_datagram else None
        conversation = Conversation(conn, InputReader(), output, form, wait_s=wait_s)
        await conversation.run()
        if interactive and (cause := conversation.likely_cause):
            click.echo(f"the peer has closed the connection{cause}", err=True)
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
        form: How they are written and shown.
        wait_s: How long a silence after the end of input is the end; None: only the peer's end is.

    Attributes:
        likely_cause: Why the peer may have ended it, as the end of a sentence; empty where nothing speaks for it.
    """

    def __init__(
        self, conn: Connection[Any], reader: InputReader, output: Output, form: Form, *, wait_s: float | None
    ) -> None:
        self._conn = conn
        self._reader = reader
        self._output = output
        self._form = form
        self._wait_s = wait_s
        self._heard = asyncio.Event()
        self._silence = Silence()
        self.likely_cause = ""

    async def run(self) -> None:
        """Talk until the peer ends, or until the input ended and the last replies have come.

        Raises:
            BrokenError: The connection broke.
            ConfigurationError: A line of input is no message, or one that the codec refuses.
            RemoteProtocolError: The peer broke the codec's rules.
            BrokenPipeError: The reader of the output is gone.
        """
        sending = asyncio.create_task(self._send_input())
        receiving = asyncio.create_task(self._show_messages())
        try:
            await asyncio.wait([sending, receiving], return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                self.likely_cause = self._silence.likely_cause()
            else:
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
        # A datagram is as large as what is sent at once, so there even raw input goes line by line.
        whole_lines = self._form.by_line or self._conn.is_datagram
        lines = LineSplitter(self._conn.codec.max_frame_bytes, keep_ends=self._form.keep_ends)
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
        message = self._form.parse(line, where)
        with self._form.encoding(message, where):
            await self._conn.send(message)
        self._silence.sent()

    async def _show_messages(self) -> None:
        async for message in self._conn:
            self._output.show(self._form.show(message), whole=self._form.whole)
            self._silence.heard()
            self._heard.set()

    async def _last_replies(self, receiving: "asyncio.Task[None]") -> None:
        """Wait until the peer's end, or for as long a silence as was asked for."""
        while not receiving.done():
            self._heard.clear()
            heard = asyncio.create_task(self._heard.wait())
            done, _ = await asyncio.wait([heard, receiving], timeout=self._wait_s, return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
            if not done:
                return
