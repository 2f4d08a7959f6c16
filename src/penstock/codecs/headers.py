"""What the codecs share whose frames may begin with a header, before the length: dropped, kept, or given by itself."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar

from ..errors import FrameTooLongError, LocalProtocolError, TruncatedError, WrongTypeError
from .octets import OctetsCodec, require_choice, require_range

M = TypeVar("M")

MAX_OFFSET_BYTES: Final = 1024

Header = Literal["drop", "keep", "split"]


class HeadedCodec(OctetsCodec[M]):
    """Frames of a header of fixed size, a length, and a body. What a message is, ``header`` says.

    Datagrams need no length: there ``split`` puts the body right behind the header.
    """

    message_type: type = bytes  # type: ignore[misc]  # of one, not of all
    offset: int
    header: Header
    _splits: bool

    def _set_header(self, offset: int, header: Header) -> None:
        self.offset = require_range("offset", offset, 0, MAX_OFFSET_BYTES)
        require_choice("header", header, ("drop", "keep", "split"))
        self.header = header
        self._splits = header == "split"
        if self._splits:
            self.message_type = tuple

    def _parts(self, message: Any) -> tuple[bytes, bytes]:
        """Return the header and the body of a message that is to be sent as both.

        Raises:
            LocalProtocolError: The header is of another size, or they are longer than ``max_frame_bytes``.
            TypeError: They are not two pieces of bytes.
        """
        if not isinstance(message, tuple | list) or len(message) != 2:
            raise WrongTypeError(self.name, "(header, body)", type(message).__name__)
        header, body = map(self._octets, message)
        if len(header) != self.offset:
            raise LocalProtocolError(f"a header has {self.offset} bytes, not {len(header)}")
        self._check_size(len(header) + len(body))
        return header, body

    def _refuse_unknown_header(self) -> LocalProtocolError:
        return LocalProtocolError(
            "the header before the message is not known: header=split sends one, header=keep sends whole frames"
        )

    def decode_datagram(self, data: bytes) -> M:
        """Return the whole datagram, which may be empty; of ``split`` its header and the rest.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``.
            TruncatedError: It is shorter than the header of ``split``.
        """
        if len(data) > self.max_frame_bytes:
            raise FrameTooLongError(len(data), self.max_frame_bytes)
        if self._splits and len(data) < self.offset:
            raise TruncatedError(len(data), data)
        found: Any = (data[: self.offset], data[self.offset :]) if self._splits else data
        return found  # type: ignore[no-any-return]

    def encode_datagram(self, message: M) -> bytes:
        """Return the message as it is; of ``split`` the body behind its header.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``, or the header is of another size.
            TypeError: It is not bytes, or not two pieces of them.
        """
        return b"".join(self._parts(message)) if self._splits else self._payload(message)
