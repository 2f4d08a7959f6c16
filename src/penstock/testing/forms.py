"""Every form a handler can have, made of one function: what is done with a message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..codecs.base import Codec
from ..core.decorators import on_connection, on_message
from ..core.handlers import Handler
from ..core.service import Service, callbacks
from .engines import LOOPS

React = Callable[[Any, Any], Any]
"""``react(conn, message)`` returns the reply, or None; ``conn`` is None where the form has none."""


@dataclass(frozen=True)
class Form:
    """One way to write a handler.

    Attributes:
        label: What test ids call it.
        make: Makes a service of ``react`` over a codec.
        engines: The labels of those that serve it.
        has_conn: ``react`` gets the connection; otherwise None.
        is_conversation: It receives and sends by itself; it has no reply once it has closed.
        model: The concurrency model it is served under.
    """

    label: str
    make: Callable[[React, Codec[Any] | str], Service[Any]]
    engines: tuple[str, ...] = LOOPS
    has_conn: bool = True
    is_conversation: bool = False
    model: str = "loop"

    @property
    def in_threads(self) -> bool:
        """Whether ``react`` runs beside the server's loop."""
        return self.model == "threads" or self.label == "def-connection"


def _def_message(react: React, codec: Codec[Any] | str) -> Service[Any]:
    return on_message(codec=codec)(lambda message: react(None, message))


def _def_message_conn(react: React, codec: Codec[Any] | str) -> Service[Any]:
    return on_message(codec=codec)(react)


def _async_message(react: React, codec: Codec[Any] | str) -> Service[Any]:
    async def handle(message: Any) -> Any:
        await asyncio.sleep(0)
        return react(None, message)

    return on_message(codec=codec)(handle)


def _async_message_conn(react: React, codec: Codec[Any] | str) -> Service[Any]:
    async def handle(conn: Any, message: Any) -> Any:
        await asyncio.sleep(0)
        return react(conn, message)

    return on_message(codec=codec)(handle)


def _async_connection(react: React, codec: Codec[Any] | str) -> Service[Any]:
    async def handle(conn: Any) -> None:
        async for message in conn:
            reply = react(conn, message)
            if reply is not None:
                await conn.send(reply)

    return on_connection(codec=codec)(handle)


def _def_connection(react: React, codec: Codec[Any] | str) -> Service[Any]:
    def handle(conn: Any) -> None:
        for message in conn:
            reply = react(conn, message)
            if reply is not None:
                conn.send(reply)

    return on_connection(codec=codec)(handle)


def _def_callbacks(react: React, codec: Codec[Any] | str) -> Service[Any]:
    class Callbacks(Handler[Any]):
        def on_message(self, conn: Any, message: Any) -> Any:
            return react(conn, message)

    return callbacks(Callbacks, name="def-callbacks", codec=codec)


def _async_callbacks(react: React, codec: Codec[Any] | str) -> Service[Any]:
    class Callbacks(Handler[Any]):
        async def on_connect(self, conn: Any) -> None:
            await asyncio.sleep(0)

        async def on_message(self, conn: Any, message: Any) -> Any:
            await asyncio.sleep(0)
            return react(conn, message)

    return callbacks(Callbacks, name="async-callbacks", codec=codec)


FORMS: Final = (
    Form("def-message", _def_message, (*LOOPS, "blocking"), has_conn=False),
    Form("def-message-conn", _def_message_conn, (*LOOPS, "blocking")),
    Form("def-callbacks", _def_callbacks, (*LOOPS, "blocking")),
    Form("def-connection", _def_connection, ("blocking",), is_conversation=True),
    Form("async-message", _async_message, has_conn=False),
    Form("async-message-conn", _async_message_conn),
    Form("async-callbacks", _async_callbacks),
    Form("async-connection", _async_connection, is_conversation=True),
    Form("threads-message", _def_message, has_conn=False, model="threads"),
    Form("threads-message-conn", _def_message_conn, model="threads"),
    Form("threads-callbacks", _def_callbacks, model="threads"),
)
