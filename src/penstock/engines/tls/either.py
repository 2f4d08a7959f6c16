"""Plain text and TLS on one port: the first byte decides, which no text begins with."""

from __future__ import annotations

from ...core.law.tls import is_tls
from ..link import Layer, LayerMaker, Link, LinkUser


class EitherLayer(Layer):
    """One connection, until its first byte says whether it speaks TLS.

    A peer that waits for the server to speak first says nothing: it is held to the time of a handshake.

    Args:
        user: What is over it.
        tls: Makes the layer of TLS.
    """

    __slots__ = ("_tls",)

    def __init__(self, user: LinkUser, tls: LayerMaker) -> None:
        super().__init__(user)
        self._tls: LayerMaker | None = tls  # None once it is known

    def connection_made(self, link: Link) -> None:
        """Wait for the first byte."""
        self._link = link
        self._user.layer_begins(self)
        if self._tls is not None and self._user is not None:
            link.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Look at the first byte, then hand on what was read."""
        maker, self._tls = self._tls, None
        if maker is not None:
            if is_tls(data):
                self._user = maker(self._user)
            else:
                self._user.layer_begun()
            self._user.connection_made(self._link)
        if self._user is not None:
            self._user.data_received(data)

    def eof_received(self) -> object:
        """Hand on the peer's EOF: one that has said nothing has begun and ended in clear."""
        maker, self._tls = self._tls, None
        if maker is not None:
            self._user.layer_begun()
            self._user.connection_made(self._link)
        return self._user.eof_received() if self._user is not None else True
