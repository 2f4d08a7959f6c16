"""The prompt of ``penstock connect`` on a terminal: line editing, history, completion, replies above what is typed."""

import asyncio
import codecs
import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app, run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from ..address import Address
from ..codecs import Codec, describe_codecs
from ..core.contract import Connection
from ..core.texts import escape_text
from ..errors import (
    BrokenError,
    ConfigurationError,
    ConnectError,
    ConnectionEndedError,
    DatagramError,
    LocalProtocolError,
    RemoteProtocolError,
)
from .client import PROTOCOL, REFUSED, words_of
from .output import PROMPT, write_all
from .prompt_commands import SUMMARIES, Interpreter, Settings
from .report import warn
from .silence import Silence
from .terminal import has_colour

__all__ = ["Prompt", "Settings"]

# What stands before what is typed when there is no connection.
CLOSED_PROMPT: Final = "closed> "
# How long the rest of a line of raw bytes is waited for before its beginning is shown as a line.
REST_OF_LINE_S: Final = 0.1
# Lines that wait to be shown; the peer is not read while there are more.
MAX_WAITING_LINES: Final = 1000
# The longest name most file systems take is 255 bytes.
_MAX_NAME: Final = 200


class Prompt:
    """Input of a person to a peer, and the peer to the screen, until the person ends it.

    Args:
        conn: The connection. It is the prompt's from now on.
        address: As the user wrote it: its history is offered.
        settings: How things are shown.
        dial: Makes a new connection to the same peer, with the codec it is given.
        wait_s: How long last replies, and the end of the peer, are waited for at the end of input; None for ever.
    """

    def __init__(
        self,
        conn: Connection[Any],
        address: Address,
        settings: Settings,
        *,
        dial: Callable[[Codec[Any]], Awaitable[Connection[Any]]],
        wait_s: float | None,
    ) -> None:
        self._settings = settings
        self._dial = dial
        self._wait_s = wait_s
        self._failure: Exception | None = None  # what ended the connection, if that was no end of the stream
        self._screen = Screen(settings)
        self._interpreter = Interpreter(settings)
        self._session: PromptSession[str] = PromptSession(
            message=self._message,
            history=open_history(address),
            completer=Commands(),
            complete_while_typing=False,
            enable_suspend=True,
            key_bindings=_keys(),
        )
        self._is_asking = False
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begin(conn)

    def _begin(self, conn: Connection[Any]) -> None:
        self._conn = conn
        self._is_closed = False
        self._failure = None
        self._silence = Silence()
        self._receiving = asyncio.create_task(self._receive(conn, self._silence))
        self._receiving.add_done_callback(self._ended)

    def _message(self) -> str:
        return CLOSED_PROMPT if self._is_closed else PROMPT

    async def run(self) -> int:
        """Talk until the user ends it and the last replies have come.

        Returns:
            The exit status: not 0 where the last connection broke, which was said then.

        Raises:
            BrokenError: The connection broke while the last replies were waited for.
            RemoteProtocolError: The peer broke the codec's rules then.
            BrokenPipeError: The terminal is gone.
            KeyboardInterrupt: The user pressed CTRL+C.
        """
        asking = asyncio.create_task(self._ask())
        showing = asyncio.create_task(self._screen.run())
        try:
            self._is_asking = True
            await asyncio.wait([asking, showing, self._broken], return_when=asyncio.FIRST_COMPLETED)
            self._is_asking = False
            for task in (self._broken, showing, asking):  # the first two end only when nothing goes on any more
                if task.done():
                    task.result()
            if not self._is_closed:
                await asyncio.wait([self._receiving], timeout=self._wait_s)
                if self._receiving.done():
                    self._receiving.result()
        finally:
            for task in (asking, self._receiving):
                task.cancel()
            await asyncio.gather(asking, self._receiving, return_exceptions=True)
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
            self._screen.finish()
            self._conn.close()
            await self._conn.wait_closed()
        if self._failure is None:
            return 0
        return PROTOCOL if isinstance(self._failure, RemoteProtocolError) else REFUSED

    def _ended(self, receiving: "asyncio.Task[None]") -> None:
        """Say that the connection is over, and why, and go on asking."""
        if receiving.cancelled() or not self._is_asking:
            return
        self._is_closed = True
        self._conn.close()
        try:
            receiving.result()
        except (BrokenError, RemoteProtocolError) as error:
            self._failure = error
            self._screen.complain(f"{words_of(error)}{self._silence.likely_cause()}")
        except Exception as error:  # such as the terminal's end
            self._broken.set_exception(error)
        else:
            self._screen.note(f"the peer has closed the connection{self._silence.likely_cause()}")
        self._screen.note("/reconnect connects again, Enter quits")
        self._session.app.invalidate()

    async def _ask(self) -> None:
        while True:
            try:
                line = await self._session.prompt_async()
            except EOFError:
                break
            if (self._is_closed and not line) or await self._obey(line):
                break
        if not self._conn.is_datagram and not self._is_closed:
            with contextlib.suppress(ConnectionEndedError):  # why it ended is what receiving ends with
                self._conn.send_eof()

    async def _obey(self, text: str) -> bool:
        """Do what each line of ``text`` asks for, up to the first mistake; return whether one asks for the end."""
        try:
            for line in self._interpreter.lines(text):
                request = self._interpreter.read(line)
                if request.codec is not None and not self._is_closed:
                    self._conn.set_codec(request.codec)
                for _ in range(request.repeat):
                    for message in request.messages:
                        await self._send(message)
                if request.reconnect:
                    await self._reconnect()
                for note in request.notes:
                    self._screen.note(note)
                await self._screen.shown()
                if request.quit:
                    return True
        except (ConfigurationError, ConnectError, ConnectionEndedError, LocalProtocolError) as error:
            self._screen.complain(str(error))
        return False

    async def _send(self, message: Any) -> None:
        if self._is_closed:
            raise ConfigurationError("not connected; /reconnect connects again", "not sent")
        try:
            await self._conn.send(message)
        except DatagramError:
            raise
        except ConnectionEndedError:
            await asyncio.wait([self._receiving])  # which says why, after the last messages
            raise ConfigurationError("the connection has ended", "not sent") from None
        self._silence.sent()

    async def _reconnect(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._receiving.cancel()
            await asyncio.gather(self._receiving, return_exceptions=True)
            self._conn.close()
        conn = await self._dial(self._settings.form.codec)
        self._begin(conn)
        self._screen.note(f"connected to {conn.peer}")

    async def _receive(self, conn: Connection[Any], silence: Silence) -> None:
        while True:
            try:
                async for message in conn:
                    silence.heard()
                    form = self._settings.form
                    self._screen.show(form.show(message), whole=form.whole or conn.is_datagram)
                    await self._screen.room()
            except DatagramError as error:  # about one datagram: the next may find somebody
                self._screen.complain(str(error))
            else:
                return


def _keys() -> KeyBindings:
    """Have CTRL+C clear what is typed; with nothing typed it ends the program, as ever."""
    keys = KeyBindings()

    @keys.add("c-c", filter=Condition(lambda: bool(get_app().current_buffer.text)) & ~is_searching)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    return keys


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
            shown = self._painted("36", "\t".join(escape_text(cell) for cell in row.split("\t")))
            self._add(f"{self._styled('2', stamp)} {shown}" if self._settings.timestamps else shown)

    def _styled(self, code: str, text: str) -> str:
        return self._painted(code, "\n".join(escape_text(line) for line in text.split("\n")))

    def _painted(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text

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
    """Completes the names of commands, paths after ``/file``, and codecs after ``/codec``."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=False)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what fits."""
        before = document.text_before_cursor
        if before.startswith("/file "):
            path = before.removeprefix("/file ").lstrip()
            yield from self._paths.get_completions(Document(path), complete_event)
        elif before.startswith("/codec "):
            begun = before.removeprefix("/codec ").lstrip()
            for codec in describe_codecs():
                if codec.name.startswith(begun):
                    yield Completion(codec.name, start_position=-len(begun), display_meta=codec.summary)
        elif before.startswith("/") and " " not in before:
            for name, text in SUMMARIES.items():
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
