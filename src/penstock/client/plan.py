"""What a client asks its engine for, once its socket is connected."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

from ..address import Address
from ..codecs.base import Codec
from ..config import Limits
from ..core.contract import Clock
from ..core.deadline import Deadline
from ..engines.client import ClientPlan
from ..engines.datagram_wire import DatagramWire
from ..engines.link import LayerMaker
from ..engines.listener import peer_of
from .network import local_address
from .options import ClientTimeouts
from .tls import ClientTls, Handshake


def plan_for(
    sock: socket.socket,
    target: Address,
    codec: Codec[Any],
    *,
    timeouts: ClientTimeouts,
    limits: Limits,
    total: Deadline | None,
    clock: Clock | None = None,
    name: object = None,
    wire: DatagramWire | None = None,
    layer: LayerMaker | None = None,
    ready_by: Deadline | None = None,
) -> ClientPlan:
    """Return what is to become of a connected socket; close it when that cannot be said.

    Args:
        sock: The socket.
        target: What it is connected to.
        codec: What is spoken there.
        timeouts: How long its user waits, for what.
        limits: Of the connection's buffers.
        total: Until when everything is to be done.
        clock: Where time comes from; None for the engine's own.
        name: The peer's, where getpeername(2) does not say it: of sockets for ICMP.
        wire: What is between the socket and the codec, if that is not nothing.
        layer: Over its link.
        ready_by: Until when a thread waits for that.

    Raises:
        OSError: It is connected no more.
    """
    try:
        return ClientPlan(
            codec=codec,
            peer=peer_of(sock, name or sock.getpeername()),
            local=local_address(sock, target.scheme),
            timeouts=timeouts.of_connection(),
            limits=limits,
            read_s=timeouts.read_s,
            total=total,
            clock=clock,
            wire=wire,
            layer=layer,
            ready_by=ready_by,
            secure=partial(_secure, target),
        )
    except BaseException:
        sock.close()
        raise


def _secure(target: Address, tls: ClientTls | None) -> LayerMaker:
    """Return what makes the layer of TLS that begins on an open connection.

    Raises:
        ConfigurationError: As of `Handshake`.
    """
    return Handshake(target, tls or ClientTls()).layer
