"""Messages as people and pipes write and read them.

A codec of bytes takes a line as it is, and one of text a line of UTF-8. A codec of objects takes a line of JSON, and
its messages are shown as JSON.
"""

import json
from enum import Enum
from typing import Any, Final

from ..codecs import Codec, Duplex, Resp
from ..codecs.headers import HeadedCodec
from ..codecs.resp.values import Attributed, ErrorReply, VerbatimString
from ..errors import ConfigurationError
from .objects import field_names, made_of_json

# The most that is kept of a line whose end has not come, beside what the codec can send anyway.
MIN_LINE_BYTES: Final = 1024 * 1024


def parse_message(text: bytes, codec: Codec[Any], where: str) -> Any:
    """Read one message that a user wrote.

    Raises:
        ConfigurationError: The codec's messages are objects and ``text`` is not JSON, or text and it is not UTF-8.
    """
    codec = codec.sends if isinstance(codec, Duplex) else codec
    if codec.message_type is bytes:
        return text
    if codec.message_type is str:
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{codec.name} messages are UTF-8: {error}", where) from None
    try:
        message = json.loads(text)
        if isinstance(codec, Resp | HeadedCodec):
            return _strings_as_bytes(message)
        # The codec says only that its messages are objects, or of which type.
        return made_of_json(message, codec.message_type)
    except (ValueError, TypeError, RecursionError) as error:
        problem = f"{codec.name} messages are written as JSON: {error}"
        raise ConfigurationError(problem, where) from None


def _strings_as_bytes(value: Any) -> Any:
    """Make of what JSON says what RESP can, or a header and a body: all its strings are bytes."""
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass")
        case list():
            return [_strings_as_bytes(item) for item in value]
        case dict():
            return {_strings_as_bytes(key): _strings_as_bytes(item) for key, item in value.items()}
        case _:
            return value


def show_message(message: Any, codec: Codec[Any]) -> bytes:
    """Write one message for a user, without a newline at its end."""
    codec = codec.receives if isinstance(codec, Duplex) else codec
    if codec.message_type is bytes and isinstance(message, bytes):
        return message
    if codec.message_type is str and isinstance(message, str):
        return message.encode("utf-8", "backslashreplace")
    return json.dumps(_plain(message), ensure_ascii=False).encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """Make of a message what JSON can say. Bytes are shown as text, what is not UTF-8 in them as its codes."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case ErrorReply():  # bytes as well, and not to be taken for a reply that says the same
            return {"error": _plain(bytes(value))}
        case VerbatimString():
            return _plain(value.text)
        case Attributed():
            return _plain(value.value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "backslashreplace")
        case dict():
            return {str(_plain(key)): _plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case Enum():
            return _plain(value.value)
        case _:
            names = field_names(type(value))
            return str(value) if names is None else {name: _plain(getattr(value, name)) for name in names}


class LineSplitter:
    """Cuts input into lines, whatever pieces it comes in.

    Args:
        max_bytes: The most that is kept of a line whose end has not come.
        keep_ends: Whether each line keeps its newline.
    """

    def __init__(self, max_bytes: int, *, keep_ends: bool = False) -> None:
        self._max_bytes = max(max_bytes, MIN_LINE_BYTES)
        self._keep_ends = keep_ends
        self._rest: list[bytes] = []
        self._rest_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that end in ``data``.

        Raises:
            ConfigurationError: A line is too long.
        """
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest.clear()
            self._rest_bytes = 0
        if rest:
            self._rest.append(rest)
            self._rest_bytes += len(rest)
            if self._rest_bytes > self._max_bytes:
                raise ConfigurationError(
                    f"a line of input is longer than {self._max_bytes} bytes; --codec raw has no lines"
                )
        return [line + b"\n" for line in lines] if self._keep_ends else lines

    def finish(self) -> list[bytes]:
        """Return the last line, if it has no newline."""
        last = b"".join(self._rest)
        self._rest.clear()
        return [last] if last else []
