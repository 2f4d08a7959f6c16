"""What moves the bytes of one connection: a socket, a loop's own transport, or a layer over another link.

A link knows neither messages nor limits nor time. It is told what to do by its connection, and tells it what happened.
All bytes of a connection leave by `Link.send` and enter by `LinkUser.data_received`: so a layer (TLS, PROXY, a tap)
is a link that has a link, and the user of that one.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..core.tls import TlsInfo
from ..errors import HandshakeError, TlsError
from ..reasons import Refusal
from .wire import SocketOptions

if TYPE_CHECKING:
    from ..core.proxy import ProxyHeader


class LinkUser(Protocol):
    """What a link tells of what happened: a connection, or a layer. Nothing is told after `connection_lost`."""

    def connection_made(self, link: Link, /) -> None:
        """The link can be used. Told first, and once."""

    def data_received(self, data: bytes, /) -> None:
        """Bytes came; on a link of records, one record."""

    def eof_received(self) -> object:
        """The peer sent EOF. Told once, after all its bytes."""

    def output_sank(self) -> None:
        """The link holds fewer bytes than before. Told whenever the kernel took some that it had not taken at once."""

    def connection_broke(self, error: BaseException, /) -> None:
        """Nothing can be sent any more; `connection_lost` follows. Told in the middle of the call that met it."""

    # What a layer tells alone: one that needs the peer before its user can begin, or that sends something of its own.

    def layer_begins(self, link: Link, /) -> None:
        """There is a link; what is over it needs the peer first. `connection_made` follows, or `layer_failed`."""

    def layer_begun(self) -> None:
        """What was needed is there. Told right before `connection_made`.

        Until then the layer reads, whatever its user has said: one that is to be read no further says it again.
        """

    def layer_failed(self, error: HandshakeError, /) -> None:
        """It will never be there. The layer has sent what it had to say: end the link."""

    def introduced(self, header: ProxyHeader, /) -> Refusal | None:
        """A proxy says who the peer is. Return why the gate refuses that one; None where it does not.

        Raises:
            ProxyError: What the header says cannot be read.
        """

    def output_rose(self, queued_bytes: int, /) -> None:
        """The link keeps ``queued_bytes`` bytes, some of which the user has not sent."""

    def input_cut(self, error: BaseException, /) -> None:
        """The peer's direction is over, and nothing says that all of it has come. Told in place of `eof_received`."""

    def connection_lost(self, error: BaseException | None, /) -> None:
        """The link is gone; ``error`` is why, None when it was told to close or to reset."""


class Link(ABC):
    """One connected peer, in bytes or records. Every method returns at once."""

    __slots__ = ()

    @property
    @abstractmethod
    def queued_bytes(self) -> int:
        """How many bytes it was given and the kernel has not taken."""

    @property
    @abstractmethod
    def socket(self) -> SocketOptions | socket.socket | None:
        """The socket under it, to ask or to set its options; None where there is none."""

    @property
    def tls(self) -> TlsInfo | None:
        """What was agreed in the TLS handshake; None without TLS."""
        return None

    @abstractmethod
    def hand_to(self, user: LinkUser) -> None:
        """Tell another user from now on: a layer that is put between the link and its user, who still has the link."""

    @abstractmethod
    def send(self, data: bytes) -> int:
        """Send, now or when the kernel takes it; nothing once it was told to close or to end this direction.

        Returns:
            How many bytes wait for the kernel, these included.
        """

    def take_turns(self, *, wanted: bool) -> None:  # noqa: B027 - see below
        """Be one of those of which a loop reads `STEPS_PER_TURN` in a turn, or not any more.

        Nothing where a thread reads, or the loop itself does: who waits for whom is not ours to say there.
        """

    @abstractmethod
    def pause_reading(self) -> None:
        """Leave what comes with the kernel. May be repeated."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Read again, unless the peer's EOF came or it was told to close. May be repeated."""

    @abstractmethod
    def send_eof(self) -> None:
        """End this direction, after what was sent. May be repeated."""

    @abstractmethod
    def close(self) -> None:
        """Read no more; close once all was sent. May be repeated."""

    @abstractmethod
    def abort(self) -> None:
        """Close now, and drop what was not sent. May be repeated."""

    def trust(self) -> None:  # noqa: B027 - most peers cannot be forged
        """The peer has shown who it is: a link whose peer's address may be forged holds it to less from now on."""

    def watch(self, high: int, low: int) -> None:  # noqa: B027 - a link may tell of every byte
        """Tell, by `send` and `output_sank`, at least of more than ``high`` bytes, and of no more than ``low``.

        A link over a transport that tells no more than that has to be told both. Where both are the same, output is
        paused, and ``output_sank`` is to come in any case.
        """

    # What a link can that hands its connection over to another process.

    @property
    def may_move(self) -> bool:
        """Whether `hold` can be called now."""
        return False

    def hold(self) -> bytes:
        """Leave the loop's set, read and send nothing; return what the kernel has not taken."""
        raise NotImplementedError

    def take_back(self) -> None:
        """Go on after `hold`, and do not read yet."""
        raise NotImplementedError

    def depart(self) -> None:
        """Close this copy of the descriptor after `hold`: another process goes on with it. Nothing is told."""
        raise NotImplementedError

    @property
    def acts_now(self) -> bool:
        """Whether `read_now` and `send_now` do what they say: else bytes move when whoever polls says so."""
        return False

    @property
    def heard_bytes(self) -> int:
        """How many bytes a layer has read: more than it has handed on, where only the start of something has come."""
        return 0

    def read_now(self) -> None:  # noqa: B027 - see `acts_now`
        """Read, though nobody said that there is anything; nothing while reading is paused."""

    def send_now(self) -> None:  # noqa: B027 - see `acts_now`
        """Send what waits for the kernel, though nobody said that there is room."""


class Layer(Link):
    """A link over another one: each is told what the other would be. By itself it changes nothing.

    One that changes what passes (TLS), or begins with something of its own (PROXY), overrides what it has to do with:
    `send` and `data_received`, `send_eof` and `eof_received`, `connection_made`, `close`. The native engine uses it
    too: there the link under it is the connection's socket.

    Args:
        user: What is over it: a connection, or another layer.
    """

    __slots__ = ("_link", "_user")

    _link: Link

    def __init__(self, user: LinkUser) -> None:
        self._user: Any = user  # None once it was told of the end

    # -- what the link under it tells ----------------------------------------------------------------------------------

    def connection_made(self, link: Link) -> None:
        """Begin: have the user begin, now or later."""
        self._link = link
        self._user.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """Hand on what was read."""
        self._user.data_received(data)

    def eof_received(self) -> object:
        """Hand on the peer's EOF."""
        return self._user.eof_received()

    def output_sank(self) -> None:
        """Hand on that the kernel took some."""
        self._user.output_sank()

    def interest_changed(self) -> None:
        """Hand on what a link of threads wants."""
        self._user.interest_changed()

    def connection_broke(self, error: BaseException) -> None:
        """Hand on that nothing can be sent any more."""
        self._user.connection_broke(error)

    def layer_begins(self, link: Link) -> None:
        """Hand on that a layer under this one needs the peer first."""
        self._link = link
        self._user.layer_begins(self)

    def layer_begun(self) -> None:
        """Hand on that it has what it needed."""
        self._user.layer_begun()

    def layer_failed(self, error: HandshakeError) -> None:
        """Hand on that it never will."""
        self._user.layer_failed(error)

    def introduced(self, header: ProxyHeader) -> Refusal | None:
        """Hand on who the peer is."""
        refusal: Refusal | None = self._user.introduced(header)
        return refusal

    def output_rose(self, queued_bytes: int) -> None:
        """Hand on that the link keeps more."""
        self._user.output_rose(queued_bytes)

    def input_cut(self, error: BaseException) -> None:
        """Hand on that the peer's direction was cut."""
        self._user.input_cut(error)

    def connection_lost(self, error: BaseException | None) -> None:
        """Hand on the end, then forget the user: the cycle through it is over."""
        self._user.connection_lost(error)
        self._user = None  # last: a call that was refused for want of stack or memory is made once more

    def hand_to(self, user: LinkUser) -> None:
        """Be under another layer."""
        self._user = user

    # -- what its user asks for ----------------------------------------------------------------------------------------

    def give_up(self, error: TlsError) -> None:
        """Fail at what it needs of the peer first, for this reason; its user is told as of any other failure."""
        self._user.layer_failed(error)

    @property
    def queued_bytes(self) -> int:
        """How many bytes the link under it keeps."""
        return self._link.queued_bytes

    @property
    def socket(self) -> SocketOptions | socket.socket | None:
        """The socket under it."""
        return self._link.socket

    @property
    def tls(self) -> TlsInfo | None:
        """What a layer under it agreed on."""
        return self._link.tls

    def send(self, data: bytes) -> int:
        """Send by the link under it."""
        return self._link.send(data)

    def take_turns(self, *, wanted: bool) -> None:
        """Have the link under it do so."""
        self._link.take_turns(wanted=wanted)

    def pause_reading(self) -> None:
        """Have the link under it read no further."""
        self._link.pause_reading()

    def resume_reading(self) -> None:
        """Have it read again."""
        self._link.resume_reading()

    def send_eof(self) -> None:
        """End this direction of the link under it."""
        self._link.send_eof()

    def close(self) -> None:
        """Close the link under it."""
        self._link.close()

    def abort(self) -> None:
        """Close it now."""
        self._link.abort()

    def watch(self, high: int, low: int) -> None:
        """Set the watermarks at which the link tells of its output."""
        self._link.watch(high, low)

    @property
    def acts_now(self) -> bool:
        """Whether the link under it does."""
        return self._link.acts_now

    @property
    def heard_bytes(self) -> int:
        """As of the link under it."""
        return self._link.heard_bytes

    def read_now(self) -> None:
        """Have it read now."""
        self._link.read_now()

    def send_now(self) -> None:
        """Have it send now."""
        self._link.send_now()


# Makes one connection's layer, of what is over it.
LayerMaker = Callable[[LinkUser], Layer]


def stacked(below: LayerMaker | None, above: LayerMaker) -> LayerMaker:
    """Return what makes two layers, one over the other: ``below`` is next to the link, if there is one."""
    return above if below is None else lambda user: below(above(user))


def over(maker: LayerMaker | None, connection: LinkUser) -> LinkUser:
    """Return what a connection's link is to tell: the layer over the link, or the connection where there is none."""
    return connection if maker is None else maker(connection)
