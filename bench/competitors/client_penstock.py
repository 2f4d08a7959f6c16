"""Penstock's clients: `connect_sync`, and `connect` in each loop it may find itself in."""

import asyncio
from collections.abc import Awaitable, Callable

import penstock
from client_program import REQUEST, arguments, check, obey, obey_in_loop, say

options = arguments(loop=("none", "asyncio", "uvloop", "native"))
ADDRESS = f"tcp://127.0.0.1:{options.port}"


def sync() -> None:
    conn = penstock.connect_sync(ADDRESS, codec="lines")

    def ask(count: int) -> None:
        for _ in range(count):
            check(conn.request(REQUEST))

    obey(ask)


async def connect() -> Callable[[int], Awaitable[object]]:
    conn = await penstock.connect(ADDRESS, codec="lines")

    async def ask(count: int) -> None:
        for _ in range(count):
            check(await conn.request(REQUEST))

    return ask


if options.loop == "none":
    sync()
elif options.loop == "uvloop":
    import uvloop

    obey_in_loop(connect, uvloop.new_event_loop)
elif options.loop == "native":
    try:
        from penstock.engines.native.engine import new_event_loop
    except ImportError as error:
        say(ready=False, why=str(error))
    else:
        obey_in_loop(connect, new_event_loop)
else:
    obey_in_loop(connect, asyncio.SelectorEventLoop)
