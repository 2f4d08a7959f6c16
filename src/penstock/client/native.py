"""Connections of the compiled engine, in a loop that it owns."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from ..codecs.base import Codec
from ..config import Limits, Timeouts
from ..core.budget import OutputBudget
from .connection import Allowance, ClientConnection

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from ..address import Address, Peer
    from ..core.contract import Clock
    from ..core.events import Event
    from ..engines.base import Plan
    from ..engines.loop.context import LoopContext
    from ..engines.native.client import ClientConversation
    from ..engines.native.host import Host as NativeHost
    from ..engines.native.poller import Poller


@dataclass(frozen=True, slots=True)
class _Speaks:
    codec: Codec[Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """As much of a `Plan` as a connection has to do with: a client has no handler, no gate and no end."""

    service: _Speaks
    timeouts: Timeouts
    limits: Limits
    clock: Clock | None
    emit: Callable[[Event], None]
    budget: OutputBudget = field(default_factory=OutputBudget)


def native_poller(loop: asyncio.AbstractEventLoop) -> Poller | None:
    """Return the loop's selector where it is the compiled engine's, and that has connections for clients."""
    module = sys.modules.get("penstock.engines.native.selector")  # no loop can have one before that was imported
    selector = getattr(loop, "_selector", None)
    is_native = module is not None and isinstance(selector, module.NativeSelector)
    return selector if is_native and _compiled() is not None else None


@functools.cache
def _compiled() -> tuple[type[ClientConversation], type[NativeHost]] | None:
    try:
        from ..engines.native.client import ClientConversation  # noqa: PLC0415 - compiled, each for itself
        from ..engines.native.host import Host as NativeHost  # noqa: PLC0415
    except ImportError:
        return None
    ClientConnection.register(ClientConversation)  # it is no subclass, but it has the same methods
    return ClientConversation, NativeHost


def _nobody_waits() -> None:
    """A client's connection is in nobody's list."""


def native_connection(
    poller: Poller,
    sock: socket.socket,
    codec: Codec[Any],
    context: LoopContext,
    *,
    ends: tuple[Peer, Address],
    allowance: Allowance,
) -> ClientConnection[Any]:
    """Make a connection of a connected stream socket, which is the connection's from now on.

    Args:
        poller: Of the context's loop.
        sock: Non-blocking.
        codec: What cuts its stream into messages.
        context: As for the connections of the pure engine.
        ends: Who is at the other end, and where this end is.
        allowance: How long its user waits.
    """
    compiled = _compiled()
    assert compiled is not None, "whoever has a poller has these"
    conversation, native_host = compiled
    timeouts = context.timeouts.merged(lifetime_s=allowance.left_s(context.clock))
    clock = None if context.clock is context.loop else context.clock
    part = _Part(_Speaks(codec), timeouts, context.limits, clock, context.emit)
    native = native_host(poller, context.loop, cast("Plan", part), _nobody_waits)
    connection = conversation(native, *ends, allowance.read_s, allowance.total_s)
    connection.begin(sock.detach())
    return cast("ClientConnection[Any]", connection)
