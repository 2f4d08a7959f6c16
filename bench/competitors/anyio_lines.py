"""anyio on asyncio: create_tcp_listener and BufferedByteReceiveStream.receive_until, as in its manual."""

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from common import MAX_LINE, arguments, handle, ready


async def echo(client: anyio.abc.SocketStream) -> None:
    async with client:
        reader = BufferedByteReceiveStream(client)
        while True:
            try:
                line = await reader.receive_until(b"\n", MAX_LINE)
            except anyio.IncompleteRead:
                break
            await client.send(handle(line) + b"\n")


async def main() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=options.port, backlog=1024)
    ready(listener.extra(anyio.abc.SocketAttribute.local_port))
    await listener.serve(echo)


options = arguments("lines")
anyio.run(main)
