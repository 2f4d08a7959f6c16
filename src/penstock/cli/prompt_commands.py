"""What a line at the prompt of ``penstock connect`` asks for: a message, or one of the commands."""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..codecs import Codec, parse_codec
from ..codecs.raw import is_raw
from ..config import did_you_mean
from ..errors import ConfigurationError
from .form import Form, read_file
from .params import CodecSpec

# How each is typed and what it does: short enough for a terminal of 80 columns.
COMMANDS: Final = (
    ("/help", "list the commands"),
    ("/hex", "show replies as hexadecimal; again: as text"),
    ("/hex 48 69", "send these bytes"),
    ("/json", "show replies that are JSON indented; again: as they are"),
    ("/json VALUE", "send a JSON value, checked"),
    ("/file PATH", "send what a file holds, as `penstock send --from-file` does"),
    ("/repeat N MESSAGE", "send a message N times"),
    ("/repeat N", "send the last message N times"),
    ("/time", "show when replies come; again: hide it"),
    ("/codec CODEC", "speak another codec from now on"),
    ("/codec", "show which codec is spoken"),
    ("/reconnect", "close the connection and open a new one"),
    ("/quit", "quit; so does CTRL+D"),
)
SUMMARIES: Final[Mapping[str, str]] = {usage.split()[0]: text for usage, text in reversed(COMMANDS)}
MAX_REPEAT: Final = 1_000_000


@dataclass(slots=True)
class Settings:
    """How things are shown at the prompt; commands change it.

    Attributes:
        form: How messages are written and shown.
        timestamps: Whether each reply is shown with the time it came.
        send_empty: Whether an empty line is a message.
        indent: Whether replies that are JSON are shown indented.
    """

    form: Form
    timestamps: bool = False
    send_empty: bool = False
    indent: bool = False


@dataclass(slots=True)
class Request:
    """What one line asks for.

    Attributes:
        messages: What is to be sent.
        repeat: How often.
        notes: What is to be shown, line by line.
        codec: What is to be spoken from now on.
        reconnect: Whether the connection is to be made anew.
        quit: Whether that was all.
    """

    messages: list[Any] = field(default_factory=list)
    repeat: int = 1
    notes: list[str] = field(default_factory=list)
    codec: Codec[Any] | None = None
    reconnect: bool = False
    quit: bool = False


class Interpreter:
    """Reads the lines of one conversation.

    Args:
        settings: Changed by commands.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._crlf = settings.form.crlf
        self._written = Form(settings.form.codec, hex=settings.form.hex, crlf=settings.form.crlf)
        self._last: list[Any] = []
        self._commands: dict[str, Callable[[str], Request]] = {
            "/help": self._help,
            "/hex": self._hex,
            "/json": self._json,
            "/file": self._file,
            "/repeat": self._repeat,
            "/time": self._time,
            "/codec": self._codec,
            "/reconnect": lambda _: Request(reconnect=True),
            "/quit": lambda _: Request(quit=True),
        }

    def lines(self, text: str) -> list[str]:
        """Return the lines of what was typed, or pasted; a value of JSON may go over several."""
        if "\n" not in text:
            return [text]
        if self._settings.form.codec.message_type not in {bytes, str}:
            with contextlib.suppress(ConfigurationError):
                self._message(text)
                return [text]
        return text.removesuffix("\n").split("\n")

    def read(self, line: str) -> Request:
        """Say what ``line`` asks for. ``//`` at its beginning stands for a message that begins with one slash.

        Raises:
            ConfigurationError: It is neither a message nor a command.
        """
        if line.startswith("/") and not line.startswith("//"):
            name, _, rest = line.partition(" ")
            if name not in self._commands:
                hint = did_you_mean(name, self._commands) or "; /help lists them"
                raise ConfigurationError(f"unknown command {name}{hint}; /{line} sends it")
            return self._commands[name](rest.strip())
        if not line and self._written.whole and not self._settings.send_empty:
            return Request()
        return self._sending([self._message(line.removeprefix("/") if line.startswith("//") else line)])

    def _message(self, text: str) -> Any:
        end = "" if self._written.whole else "\n"
        return self._written.parse_checked((text + end).encode("utf-8", "surrogateescape"), "not sent")

    def _sending(self, messages: list[Any], repeat: int = 1) -> Request:
        self._last = messages
        return Request(messages, repeat)

    def _help(self, _rest: str) -> Request:
        width = max(len(usage) for usage, _ in COMMANDS)
        lines = [f"{usage:{width}}  {text}" for usage, text in COMMANDS]
        return Request(notes=[*lines, "Anything else is sent. // sends a line that begins with /."])

    def _hex(self, rest: str) -> Request:
        codec = self._settings.form.codec
        if codec.message_type is not bytes:
            raise ConfigurationError(f"{codec.name} messages are not bytes: write them as JSON", "/hex")
        if rest:
            return self._sending([Form(codec, hex=True).parse_checked(rest.encode(), "/hex")])
        self._settings.form = Form(codec, hex=not self._settings.form.hex)
        return Request(notes=[f"replies are shown {'as hexadecimal' if self._settings.form.hex else 'as they are'}"])

    def _json(self, rest: str) -> Request:
        if not rest:
            self._settings.indent = not self._settings.indent
            return Request(notes=[f"JSON is shown {'indented' if self._settings.indent else 'as it is'}"])
        try:
            text = json.dumps(json.loads(rest), ensure_ascii=False, separators=(",", ":"))
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(str(error), "/json") from None
        codec = self._settings.form.codec
        end = "" if self._written.whole else "\r\n" if self._written.crlf else "\n"
        return self._sending([Form(codec).parse_checked((text + end).encode(), "/json")])

    def _file(self, rest: str) -> Request:
        if not rest or rest == "-":
            raise ConfigurationError("it takes the path of a file", "/file")
        return self._sending(self._written.parse_file(read_file(rest, "/file"), rest))

    def _repeat(self, rest: str) -> Request:
        count, _, text = rest.partition(" ")
        if not (count.isascii() and count.isdigit() and len(count) < 9 and 1 <= int(count) <= MAX_REPEAT):
            raise ConfigurationError(f"it takes how often, from 1 to {MAX_REPEAT}, and a message", "/repeat")
        messages = [self._message(text)] if text else self._last
        if not messages:
            raise ConfigurationError("nothing was sent yet", "/repeat")
        return self._sending(messages, int(count))

    def _time(self, _rest: str) -> Request:
        self._settings.timestamps = not self._settings.timestamps
        return Request(notes=["replies are shown with their time" if self._settings.timestamps else "times are off"])

    def _codec(self, rest: str) -> Request:
        settings = self._settings
        if not rest:
            return Request(notes=[f"the codec is {settings.form.codec.name}"])
        option = CodecSpec(optional=False)
        try:
            option.check(rest)
        except ConfigurationError as error:
            raise ConfigurationError(error.problem, "/codec") from None
        codec = parse_codec(rest)
        is_bytes = codec.message_type is bytes
        self._written = Form(codec, hex=self._written.hex and is_bytes, crlf=self._crlf and is_raw(codec))
        settings.form = Form(codec, hex=settings.form.hex and is_bytes, crlf=self._written.crlf)
        self._last = []
        return Request(codec=codec, notes=[f"the codec is {codec.name}"])
