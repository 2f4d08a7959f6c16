"""EasyNetwork's TCP server on asyncio: a line serializer, and a request handler that is a generator."""

import asyncio
import logging
from collections.abc import AsyncGenerator

from common import MAX_LINE, arguments, handle, ready
from easynetwork.protocol import StreamProtocol
from easynetwork.serializers.base_stream import AutoSeparatedPacketSerializer
from easynetwork.servers import AsyncTCPNetworkServer
from easynetwork.servers.handlers import AsyncStreamClient, AsyncStreamRequestHandler


class Lines(AutoSeparatedPacketSerializer[bytes, bytes]):
    """Bytes, as the others have them: its own StringLineSerializer would make a str of each line."""

    def __init__(self) -> None:
        super().__init__(b"\n", limit=MAX_LINE)

    def serialize(self, packet: bytes) -> bytes:
        return packet

    def deserialize(self, data: bytes) -> bytes:
        return bytes(data)


class Echo(AsyncStreamRequestHandler[bytes, bytes]):
    async def handle(self, client: AsyncStreamClient[bytes]) -> AsyncGenerator[None, bytes]:
        while True:
            line = yield
            await client.send_packet(handle(line))


async def main() -> None:
    server = AsyncTCPNetworkServer(
        "127.0.0.1", options.port, StreamProtocol(Lines()), Echo(), "asyncio", backlog=1024, log_client_connection=False
    )
    async with server:
        up = asyncio.Event()
        serving = asyncio.create_task(server.serve_forever(is_up_event=up))
        await up.wait()
        ready(server.get_addresses()[0].port)
        await serving


logging.disable()
options = arguments("lines")
asyncio.run(main())
