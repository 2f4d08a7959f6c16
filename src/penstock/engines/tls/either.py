"""Plain text and TLS on one port: the first two bytes decide, by which no text begins."""

from __future__ import annotations

from ...core.law.tls import tells_tls
from ...errors import HandshakeError
from ..link import Layer, LayerMaker, Link, LinkUser


class EitherLayer(Layer):
    """One connection, until its first bytes say whether it speaks TLS.

    Most protocols tell with one byte; where that is one of TLS's, the second one is waited for. A peer that waits for
    the server to speak first says nothing: it is held to the time of a handshake.

    Args:
        user: What is over it.
        tls: Makes the layer of TLS.
    """

    __slots__ = ("_beginning", "_tls")

    def __init__(self, user: LinkUser, tls: LayerMaker) -> None:
        super().__init__(user)
        self._tls: LayerMaker | None = tls  # None once it is known
        self._beginning = b""  # what came, and does not tell yet

    def connection_made(self, link: Link) -> None:
        """Wait for the first bytes."""
        self._link = link
        link.take_turns(wanted=True)  # what comes first may be a whole ClientHello
        self._user.layer_begins(self)
        if self._tls is not None and self._user is not None:
            link.resume_reading()

    def layer_begins(self, link: Link) -> None:
        """What is under it needs the peer first, who may send a whole ClientHello with what that needs."""
        link.take_turns(wanted=True)
        super().layer_begins(link)

    def layer_failed(self, error: HandshakeError) -> None:
        """There will be no first bytes: what is under it has failed."""
        self._link.take_turns(wanted=False)
        super().layer_failed(error)

    def data_received(self, data: bytes) -> None:
        """Look at the first bytes, then hand on what was read."""
        if self._tls is not None:
            data = self._beginning + data
            tells = tells_tls(data)
            if tells is None:
                self._beginning = data
                return
            self._decide(speaks_tls=tells)
        if self._user is not None:
            self._user.data_received(data)

    def _decide(self, *, speaks_tls: bool) -> None:
        maker, self._tls, self._beginning = self._tls, None, b""
        assert maker is not None
        if speaks_tls:
            try:
                self._user = maker(self._user)
            except BaseException:
                self._link.abort()  # what comes next would pass as it is
                raise
        else:
            self._link.take_turns(wanted=False)
            self._user.layer_begun()
        self._user.connection_made(self._link)

    def eof_received(self) -> object:
        """Hand on the peer's EOF: one that has said nothing that tells has begun and ended in clear."""
        if self._tls is not None:
            beginning = self._beginning
            self._decide(speaks_tls=False)
            if beginning and self._user is not None:
                self._user.data_received(beginning)
        return self._user.eof_received() if self._user is not None else True

    @property
    def heard_bytes(self) -> int:
        """How many bytes came that do not tell yet, and those of the link."""
        return len(self._beginning) + self._link.heard_bytes
