"""asyncio.Protocol, hand-written: the best that can be done with asyncio, and the yardstick of the bench.

It keeps a partial frame, answers all frames of one read in one write, and stops reading while its peer does not read.
"""

import asyncio

from common import MAX_LINE, arguments, context, handle, ready, run

PREFIX = 4


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.partial = b""

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class RawEcho(Echo):
    def data_received(self, data: bytes) -> None:
        self.transport.write(handle(data))


class LineEcho(Echo):
    def data_received(self, data: bytes) -> None:
        if self.partial:
            data = self.partial + data
        *lines, self.partial = data.split(b"\n")
        if lines:
            self.transport.write(b"".join([handle(line) + b"\n" for line in lines]))
        if len(self.partial) > MAX_LINE:
            self.transport.abort()


class LengthPrefixedEcho(Echo):
    def data_received(self, data: bytes) -> None:
        if self.partial:
            data = self.partial + data
        replies = []
        start, end = 0, len(data)
        while end - start >= PREFIX:
            size = int.from_bytes(data[start : start + PREFIX], "big")
            if size > MAX_LINE:
                self.transport.abort()
                return
            stop = start + PREFIX + size
            if stop > end:
                break
            reply = handle(data[start + PREFIX : stop])
            replies += len(reply).to_bytes(PREFIX, "big"), reply
            start = stop
        self.partial = data[start:]
        if replies:
            self.transport.write(b"".join(replies))


PROTOCOLS = {"lines": LineEcho, "raw": RawEcho, "length-prefixed": LengthPrefixedEcho}


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        PROTOCOLS[options.framing], "127.0.0.1", options.port, backlog=1024, ssl=context(options)
    )
    ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    options = arguments(*PROTOCOLS)
    run(main, options.loop)
