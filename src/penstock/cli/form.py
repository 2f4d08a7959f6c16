"""How messages are written and shown in one run: as the codec has them, or as hexadecimal digits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..codecs import Codec
from ..codecs.raw import is_raw
from ..errors import CodecError, ConfigurationError, LocalProtocolError, PenstockError
from .messages import parse_message, show_message


@dataclass(slots=True)
class Form:
    """One run's way to write and to show messages.

    Attributes:
        codec: What frames them.
        hex: Whether messages are written and shown as hexadecimal digits.
        crlf: Whether the newline of each line of input is sent as CR LF.

    Raises:
        ConfigurationError: ``hex`` with a codec whose messages are no bytes, ``crlf`` with one that ends lines itself.
    """

    codec: Codec[Any]
    hex: bool = False
    crlf: bool = False

    def __post_init__(self) -> None:
        if self.hex and self.codec.message_type is not bytes:
            raise ConfigurationError(f"{self.codec.name} messages are not bytes: write them as JSON", "--hex")
        if self.crlf and (self.hex or not is_raw(self.codec)):
            raise ConfigurationError("it is for the codec raw only; other codecs end messages by themselves", "--crlf")

    @property
    def by_line(self) -> bool:
        """Whether each line of input is something by itself, rather than a piece of a stream of bytes."""
        return self.hex or self.crlf or not is_raw(self.codec)

    @property
    def whole(self) -> bool:
        """Whether what is shown stands on a line of its own."""
        return self.hex or not is_raw(self.codec)

    @property
    def keep_ends(self) -> bool:
        """Whether the newline of a line of input is sent with it."""
        return not self.whole

    def parse(self, text: bytes, where: str) -> Any:
        """Read one message that a user wrote.

        Raises:
            ConfigurationError: It is none; ``where`` stands in the error.
        """
        if self.hex:
            return parse_hex(text, where)
        if self.crlf and text.endswith(b"\n"):
            text = text[:-1].removesuffix(b"\r") + b"\r\n"
        return parse_message(text, self.codec, where)

    def parse_checked(self, text: bytes, where: str) -> Any:
        """Read one message that a user wrote, and have the codec look at it.

        Raises:
            ConfigurationError: It is none, or one that the codec refuses.
        """
        message = self.parse(text, where)
        with self.encoding(message, where):
            self.codec.encode(message)
        return message

    @contextmanager
    def encoding(self, message: Any, where: str) -> Iterator[None]:
        """Have a codec's objection to a message say where the message stands.

        Raises:
            ConfigurationError: The codec refuses it, or fails on it. What ends a connection is raised as it is.
        """
        try:
            yield
        except (LocalProtocolError, TypeError) as error:
            raise ConfigurationError(str(error), where) from error
        except CodecError as error:
            if error.is_about_input:
                raise
            raise self._failed(message, error, where) from error
        except (PenstockError, OSError):
            raise
        except Exception as error:  # of `encode` itself, which no guard surrounds here
            failure = CodecError(self.codec.name, "encode", f"raised {type(error).__name__}: {error}")
            raise self._failed(message, failure, where) from error

    def _failed(self, message: Any, error: CodecError, where: str) -> ConfigurationError:
        """Make the error for a codec of the user's that was given what is perhaps no message of it."""
        hint = "; a codec whose messages are not bytes says so: message_type" if isinstance(message, bytes) else ""
        return ConfigurationError(f"{error}{hint}", where)

    def parse_file(self, data: bytes, where: str) -> list[Any]:
        """Read the messages of a file: all of it is one with the codec raw, each line is one with any other.

        Raises:
            ConfigurationError: One is none, or one that the codec refuses.
        """
        if is_raw(self.codec):
            return [self.parse_checked(data, where)]
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        return [self.parse_checked(line, f"{where}:{number}") for number, line in enumerate(lines, 1)]

    def show(self, message: Any) -> bytes:
        """Write one message for a user, without a newline at its end."""
        if self.hex and isinstance(message, bytes):
            return message.hex(" ").encode()
        return show_message(message, self.codec)

    def is_text(self, message: Any) -> bool:
        """Whether a message is shown as it is, or in digits; others are shown as JSON."""
        kind = self.codec.message_type
        return kind in {bytes, str} and isinstance(message, kind)


def parse_hex(text: bytes, where: str) -> bytes:
    """Read hexadecimal digits, two for each byte; white space between bytes is skipped.

    Raises:
        ConfigurationError: They are none.
    """
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        raise ConfigurationError("bytes are pairs of hexadecimal digits: 48 69 0a, or 48690a", where) from None


def read_file(path: str, where: str) -> bytes:
    """Read a whole file; ``-`` is standard input.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {(error.strerror or str(error)).lower()}", where) from error
