"""asyncio streams, as in the library reference: readline, write, drain."""

import asyncio

from common import arguments, context, handle, ready, run


async def echo_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(handle(line.removesuffix(b"\n")) + b"\n")
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def echo_raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * 1024):
        writer.write(handle(data))
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def echo_length_prefixed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            size = int.from_bytes(await reader.readexactly(4), "big")
            payload = await reader.readexactly(size)
        except asyncio.IncompleteReadError:
            break
        reply = handle(payload)
        writer.write(len(reply).to_bytes(4, "big") + reply)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


HANDLERS = {"lines": echo_lines, "raw": echo_raw, "length-prefixed": echo_length_prefixed}


async def main() -> None:
    server = await asyncio.start_server(
        HANDLERS[options.framing], "127.0.0.1", options.port, backlog=1024, ssl=context(options)
    )
    ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    options = arguments(*HANDLERS)
    run(main, options.loop)
