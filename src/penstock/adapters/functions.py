"""Functions of a socket and an address, as gevent's servers and many a script with threads have them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..core.blocking import BlockingConnection
from ..core.handlers import ConnectionHandler
from ..core.service import Service
from ..core.signatures import is_async, name_of, positional, summary_of
from ..errors import ApplicationError
from .sockets import CODEC, ConnectionSocket
from .without import OF_BYTES


def of_function(function: Callable[..., Any], name: str) -> Service[bytes]:
    """Make a service of ``f(socket, address)``, which is called in a thread for each connection.

    Raises:
        ApplicationError: It is ``async def``, or takes other arguments.
    """
    positional(function, "a function of a socket takes (socket, address)", 2)
    if is_async(function):
        raise ApplicationError(f"{name_of(function)} is async def: a function of a blocking socket is def")
    return Service(
        name=name or name_of(function),
        handler=ConnectionHandler(partial(_handle, function), is_async=False),
        codec=CODEC,
        summary=summary_of(function),
        written_for="blocking sockets",
        without=OF_BYTES,
    )


def _handle(function: Callable[..., Any], conn: BlockingConnection[bytes]) -> None:
    function(ConnectionSocket(conn), conn.peer.sockname)
