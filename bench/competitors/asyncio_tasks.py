"""asyncio.Protocol with a task, which it makes when there is something to answer: what a Protocol does to await anything."""

import asyncio
from collections import deque

from common import MAX_LINE, arguments, handle, ready, run
from waits import WAITS


class LineEcho(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.partial = b""
        self.lines: deque[bytes] = deque()
        self.task: asyncio.Task[None] | None = None

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.partial:
            data = self.partial + data
        *lines, self.partial = data.split(b"\n")
        self.lines += lines
        if lines and self.task is None:
            self.task = loop.create_task(self.answer())
        if len(self.partial) > MAX_LINE:
            self.transport.abort()

    async def answer(self) -> None:
        while self.lines:
            line = self.lines.popleft()
            await wait()
            self.transport.write(handle(line) + b"\n")
        self.task = None


async def main() -> None:
    global loop  # noqa: PLW0603 - asked for once, as a program would that cares for its speed
    loop = asyncio.get_running_loop()
    server = await loop.create_server(LineEcho, "127.0.0.1", options.port, backlog=1024)
    ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


options = arguments("lines", waits=tuple(WAITS))
wait = WAITS[options.wait]
run(main, options.loop)
