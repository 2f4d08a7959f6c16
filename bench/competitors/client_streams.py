"""asyncio streams, as in the library reference: open_connection, write, drain, readline."""

import asyncio
from collections.abc import Awaitable, Callable

from client_program import REQUEST, arguments, check, obey_in_loop

options = arguments(loop=("asyncio", "uvloop"))


async def connect() -> Callable[[int], Awaitable[object]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", options.port)

    async def ask(count: int) -> None:
        for _ in range(count):
            writer.write(REQUEST + b"\n")
            await writer.drain()
            check((await reader.readline()).removesuffix(b"\n"))

    return ask


if options.loop == "uvloop":
    import uvloop

    obey_in_loop(connect, uvloop.new_event_loop)
else:
    obey_in_loop(connect, None)
