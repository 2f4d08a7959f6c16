"""The PROXY protocol below a connection: its header comes first, and is no byte of the connection's own.

Once it is read, the layer has the link under it and the user over it use each other: what is sent passes it no more.
"""

from __future__ import annotations

from typing import Final

from ..core.proxy import header_size, read_header
from ..errors import ProxyError
from ..reasons import CloseReason
from .link import Layer, Link, LinkUser

_WAITING, _PASSING, _FAILED = range(3)

LEFT: Final = "the proxy left before its PROXY header was whole"
REFUSED: Final = "the gate refuses whom the proxy speaks for: {}"


class ProxyLayer(Layer):
    """One connection of a trusted proxy, until its header was read.

    Args:
        user: What is over it.
    """

    __slots__ = ("_header", "_heard_bytes", "_state")

    def __init__(self, user: LinkUser) -> None:
        super().__init__(user)
        self._header = bytearray()
        self._heard_bytes = 0
        self._state = _WAITING

    def connection_made(self, link: Link) -> None:
        """Wait for the header."""
        self._link = link
        self._user.layer_begins(self)
        if self._state == _WAITING and self._user is not None:
            link.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take the header, then hand on what was read."""
        if self._state == _PASSING:
            self._user.data_received(data)
        elif self._state == _WAITING:
            self._heard_bytes += len(data)
            self._header += data
            try:
                self._look()
            except ProxyError as error:
                self._fail(error)

    def _look(self) -> None:
        size = header_size(self._header)
        if size is None:
            return
        header = read_header(bytes(self._header[:size]))
        rest = bytes(self._header[size:])
        refusal = self._user.introduced(header)
        if refusal is not None:
            raise ProxyError(CloseReason.REFUSED, REFUSED.format(refusal), refusal)
        self._header.clear()
        self._state = _PASSING
        user = self._user
        user.layer_begun()
        user.connection_made(self._link)
        if rest and self._user is not None:
            user.data_received(rest)

    def _fail(self, error: ProxyError) -> None:
        self._state = _FAILED
        self._header.clear()
        self._user.layer_failed(error)

    def eof_received(self) -> object:
        """Say what the end of the transport means: before the header was whole, that the proxy has left."""
        if self._state == _WAITING:
            self._fail(ProxyError(CloseReason.PROXY_BAD if self._header else CloseReason.PEER_CLOSED, LEFT))
        return self._user.eof_received() if self._user is not None else True

    @property
    def heard_bytes(self) -> int:
        """How many bytes of the header came."""
        return self._heard_bytes + self._link.heard_bytes
