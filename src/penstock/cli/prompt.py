"""The prompt of ``penstock connect`` on a terminal: line editing, history, completion, replies above what is typed."""

import asyncio
import codecs
import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from ..address import Address
from ..core.contract import Connection
from ..errors import ConfigurationError, ConnectionEndedError, LocalProtocolError
from ..telemetry.escaping import escape_text
from .output import PROMPT, write_all
from .prompt_commands import COMMANDS, Interpreter, Settings
from .report import warn
from .terminal import has_colour

__all__ = ["Prompt", "Settings"]

# How long the rest of a line of raw bytes is waited for before its beginning is shown as a line.
REST_OF_LINE_S: Final = 0.1
# Lines that wait to be shown; the peer is not read while there are more.
MAX_WAITING_LINES: Final = 1000
# The longest name most file systems take is 255 bytes.
_MAX_NAME: Final = 200


class Prompt:
    """Input of a person to a peer, and the peer to the screen, until either ends.

    Args:
        conn: The connection. Who made it closes it.
        address: As the user wrote it: its history is offered.
        settings: How things are shown.
        wait_s: How long last replies, and the end of the peer, are waited for at the end of input; None for ever.
    """

    def __init__(self, conn: Connection[Any], address: Address, settings: Settings, *, wait_s: float | None) -> None:
        self._conn = conn
        self._settings = settings
        self._wait_s = wait_s
        self._screen = Screen(settings)
        self._interpreter = Interpreter(settings)
        self._session: PromptSession[str] = PromptSession(
            history=open_history(address), completer=Commands(), complete_while_typing=False, enable_suspend=True
        )

    async def run(self) -> None:
        """Talk until the peer ends, or the user does and the last replies have come.

        Raises:
            BrokenError: The connection broke.
            RemoteProtocolError: The peer broke the codec's rules.
            BrokenPipeError: The terminal is gone.
            KeyboardInterrupt: The user pressed CTRL+C.
        """
        asking = asyncio.create_task(self._ask())
        receiving = asyncio.create_task(self._receive())
        showing = asyncio.create_task(self._screen.run())
        try:
            await asyncio.wait([asking, receiving, showing], return_when=asyncio.FIRST_COMPLETED)
            if showing.done():
                showing.result()  # it ends only when nothing can be shown any more
            if not receiving.done():
                asking.result()
                await asyncio.wait([receiving], timeout=self._wait_s)
            if receiving.done():
                receiving.result()
                if not asking.done():
                    self._screen.note("the peer has closed the connection")
        finally:
            for task in (asking, receiving):
                task.cancel()
            await asyncio.gather(asking, receiving, return_exceptions=True)
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
            self._screen.finish()

    async def _ask(self) -> None:
        try:
            while True:
                try:
                    line = await self._session.prompt_async(PROMPT)
                except EOFError:
                    break
                if await self._obey(line):
                    break
            if not self._conn.is_datagram:
                self._conn.send_eof()
        except ConnectionEndedError:
            if self._conn.is_datagram:
                raise
            # Why it ended is what receiving ends with, after the last messages.
            await self._conn.wait_closed()

    async def _obey(self, text: str) -> bool:
        """Do what each line of ``text`` asks for, up to the first mistake; return whether one asks for the end."""
        try:
            for line in self._interpreter.lines(text):
                request = self._interpreter.read(line)
                for _ in range(request.repeat):
                    for message in request.messages:
                        await self._conn.send(message)
                for note in request.notes:
                    self._screen.note(note)
                await self._screen.shown()
                if request.quit:
                    return True
        except (ConfigurationError, LocalProtocolError) as error:
            self._screen.complain(str(error))
        return False

    async def _receive(self) -> None:
        async for message in self._conn:
            form = self._settings.form
            self._screen.show(form.show(message), whole=form.whole or self._conn.is_datagram)
            await self._screen.room()


class Screen:
    """What is shown above the prompt. Control characters of the peer are escaped.

    Args:
        settings: How replies are shown.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._colour = has_colour(sys.stdout)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        self._partial = ""
        self._partial_timer: asyncio.TimerHandle | None = None
        self._lines: list[str] = []
        self._more = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def show(self, data: bytes, *, whole: bool) -> None:
        """Show a whole message, or a piece of a stream of bytes, of which each line is one here."""
        text = self._partial + self._decoder.decode(data, final=whole)
        self._partial = ""
        if self._partial_timer is not None:
            self._partial_timer.cancel()
            self._partial_timer = None
        if whole:
            self._reply(text)
            return
        *lines, self._partial = text.split("\n")
        for line in lines:
            self._reply(line.removesuffix("\r"))
        if self._partial:
            self._partial_timer = asyncio.get_running_loop().call_later(REST_OF_LINE_S, self._show_partial)

    def note(self, text: str) -> None:
        """Show something that the peer did not say."""
        self._add(self._styled("2", text))

    def complain(self, text: str) -> None:
        """Show what is wrong with what was typed."""
        self._add(self._styled("31", text))

    async def room(self) -> None:
        """Wait until not too much waits to be shown."""
        if len(self._lines) > MAX_WAITING_LINES:
            await self._empty.wait()

    async def shown(self) -> None:
        """Wait until everything is shown."""
        await self._empty.wait()

    async def run(self) -> None:
        """Show lines as they come, above the prompt where there is one."""
        while True:
            await self._more.wait()
            await run_in_terminal(self._write)

    def finish(self) -> None:
        """Show what was held back. There is no prompt any more."""
        if self._partial_timer is not None:
            self._partial_timer.cancel()
        self._partial += self._decoder.decode(b"", final=True)
        if self._partial:
            self._show_partial()
        self._write()

    def _show_partial(self) -> None:
        text, self._partial = self._partial, ""
        self._partial_timer = None
        self._reply(text)

    def _reply(self, text: str) -> None:
        if self._settings.indent:
            with contextlib.suppress(ValueError, RecursionError):
                text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        now = time.time()
        stamp = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now * 1000) % 1000:03d}"
        for row in text.replace("\r\n", "\n").split("\n"):
            shown = "\t".join(escape_text(cell) for cell in row.split("\t"))
            self._add(f"{self._styled('2', stamp)} {shown}" if self._settings.timestamps else shown)

    def _styled(self, code: str, text: str) -> str:
        text = "\n".join(escape_text(line) for line in text.split("\n"))
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._more.set()
        self._empty.clear()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        self._more.clear()
        if lines:
            write_all(1, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
        self._empty.set()


class Commands(Completer):
    """Completes the names of commands, and paths after ``/file``."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=False)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what fits."""
        before = document.text_before_cursor
        if before.startswith("/file "):
            path = before.removeprefix("/file ").lstrip()
            yield from self._paths.get_completions(Document(path), complete_event)
        elif before.startswith("/") and " " not in before:
            for name, text in COMMANDS.items():
                if name.startswith(before):
                    yield Completion(name, start_position=-len(before), display_meta=text)


class _AddressHistory(FileHistory):
    """A history in which a line that begins with a space leaves no trace, as in a shell."""

    def store_string(self, string: str) -> None:
        """Write one line; a disk that is full does not end the conversation."""
        if not string.startswith(" "):
            with contextlib.suppress(OSError):
                super().store_string(string)


def history_path(address: Address) -> Path:
    """Say where the history of an address is: in the XDG state directory."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"  # relative ones are ignored: XDG
    name = quote(str(address), safe="")
    if len(name) > _MAX_NAME:
        name = hashlib.sha256(name.encode()).hexdigest()
    return base / "penstock" / "history" / name


def open_history(address: Address) -> History:
    """Open the history of an address, in a file that only its owner can read; in memory where that cannot be."""
    try:
        path = history_path(address)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.close(fd)
        path.chmod(0o600)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        warn(f"no history is kept: {error}")
        return InMemoryHistory()
    return _AddressHistory(path)
