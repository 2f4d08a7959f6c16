"""Protocols of asyncio: a class, or what makes one for each connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from ..core.contract import Connection
from ..core.handlers import ConnectionHandler, MessageHandler
from ..core.service import Service
from ..core.signatures import name_of, positional, summary_of
from ..errors import ApplicationError
from .datagrams import Endpoints
from .fed import transport_of
from .sockets import CODEC
from .without import OF_BYTES, OF_DATAGRAMS


def _class_of(target: object) -> object:
    return target.func if isinstance(target, partial) else target


def is_protocol(target: object) -> bool:
    """Whether it is the class of a protocol of asyncio, or a `functools.partial` of one."""
    kind = _class_of(target)
    return isinstance(kind, type) and issubclass(kind, asyncio.BaseProtocol)


def of_protocol(target: Any, name: str) -> Service[bytes]:
    """Make a service of a protocol's class, or of a function without arguments that makes a protocol.

    Raises:
        ApplicationError: It cannot be called without arguments, or is a protocol of something else: of subprocesses.
    """
    kind = _class_of(target)
    called = name_of(kind) if callable(kind) else type(kind).__name__
    if not callable(target):
        raise ApplicationError(f"expected the class of a protocol or a function that makes one, got a {called}")
    of_datagrams = isinstance(kind, type) and issubclass(kind, asyncio.DatagramProtocol)
    of_streams = not isinstance(kind, type) or issubclass(kind, (asyncio.Protocol, asyncio.BufferedProtocol))
    if not (of_datagrams or of_streams):
        raise ApplicationError(f"{called} is a protocol of neither streams nor datagrams")
    positional(target, f"{called} is called without arguments for each connection; fix them by functools.partial", 0)
    datagram = MessageHandler(Endpoints(target).handle, takes_connection=True, is_async=True) if of_datagrams else None
    handler = ConnectionHandler(partial(_serve, target), is_async=True)
    return Service(
        name=name or called,
        handler=handler if of_streams or datagram is None else datagram,
        codec=CODEC,
        datagram=datagram,
        only_datagrams=not of_streams,
        summary=summary_of(kind) if callable(kind) else "",
        written_for="asyncio protocols",
        without=OF_BYTES if of_streams else OF_DATAGRAMS,
    )


async def _serve(factory: Callable[[], Any], conn: Connection[bytes]) -> None:
    await transport_of(conn, asyncio.get_running_loop()).carry(factory())
