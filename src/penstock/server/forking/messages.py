"""What the server, the nursery and the processes of connections say to each other: a packet each."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ...config import TlsConfig

# A packet has one message. The longest has the names of files of certificates.
MOST_BYTES: Final = 128 * 1024


class Message(msgspec.Struct, tag_field="say", tag=str.lower, frozen=True, omit_defaults=True):
    """One message."""


class Serve(Message, frozen=True, kw_only=True):
    """Serve this connection, whose descriptor comes with it.

    Attributes:
        id: Of the connection.
        address: Of the listener.
        peer: The name of the peer, as accept(2) gave it.
        requested: The address that was asked for, which says whether TLS is spoken; empty for ``address``.
    """

    id: int
    address: str
    peer: Any
    requested: str = ""


class End(Message, frozen=True, kw_only=True):
    """End a connection, by this signal to its process."""

    id: int
    signal: int


class Assume(Message, frozen=True):
    """Give up the rights that were needed to open addresses."""


class Secure(Message, frozen=True):
    """Speak TLS with these files from now on, which the server has read and found right. `Secured` answers it."""

    tls: TlsConfig


class Secured(Message, frozen=True, kw_only=True):
    """Connections from now on speak TLS with the files that `Secure` named.

    Attributes:
        problem: Why they do not: the files were read again, later than by the server. Empty where they do.
    """

    problem: str = ""


class Began(Message, frozen=True, kw_only=True):
    """It has a process."""

    id: int
    pid: int


class NotBegun(Message, frozen=True, kw_only=True):
    """It has none: the system gives no process, for this reason."""

    id: int
    problem: str


class Told(Message, frozen=True, kw_only=True):
    """By the process of a connection: it has ended in order.

    Attributes:
        id: Which.
        reason: As of the event `Closed`, and the following.
        detail: Likewise.
        bytes_in: Likewise.
        bytes_out: Likewise.
        messages_in: As of the connection.
        messages_out: Likewise.
        handler_errors: How often the handler failed.
        problem: Why there was no handshake, where that was what ended it.
    """

    id: int
    reason: str
    detail: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    messages_out: int = 0
    handler_errors: int = 0
    problem: str = ""


class Shakes(Message, frozen=True, kw_only=True):
    """By the process of a connection: a handshake has begun, or is over, TLS or the handler's own."""

    id: int
    over: bool = False


class WantsEnd(Message, frozen=True, kw_only=True):
    """By the process of a connection: its handler ends the server."""

    at_once: bool = False


class Ended(Message, frozen=True, kw_only=True):
    """Its process has ended with this status, negative for a signal."""

    id: int
    status: int


ToNursery = Serve | End | Assume | Secure
FromNursery = Began | NotBegun | Secured | Told | Shakes | WantsEnd | Ended

_encoder: Final = msgspec.json.Encoder()
_to_nursery: Final = msgspec.json.Decoder(ToNursery)
_from_nursery: Final = msgspec.json.Decoder(FromNursery)


def send(sock: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send a message.

    Raises:
        OSError: It does not go now, or the other end is gone.
    """
    socket.send_fds(sock, [_encoder.encode(message)], descriptors)


def received_by_nursery(sock: socket.socket) -> tuple[Serve | End | Assume | Secure, list[int]] | None:
    """Return the next message and its descriptors; None at the end."""
    data, descriptors, _, _ = socket.recv_fds(sock, MOST_BYTES, 1)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # recv_fds does not ask for MSG_CMSG_CLOEXEC
    return (_to_nursery.decode(data), descriptors) if data else None


def received_by_server(sock: socket.socket) -> Began | NotBegun | Secured | Told | Shakes | WantsEnd | Ended | None:
    """Return the next message; None at the end."""
    data = sock.recv(MOST_BYTES)
    return _from_nursery.decode(data) if data else None
