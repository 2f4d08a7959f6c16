"""trio's serve_listeners with a buffered line reader, as its tutorial and its line-reading recipe have it."""

import trio
from common import MAX_LINE, arguments, handle, ready


class LineReader:
    """Cuts lines from a receive stream; searches each byte once."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self.stream = stream
        self.buffer = bytearray()
        self.searched = 0

    async def readline(self) -> bytes | None:
        """Return one line without its end, or None at the end of the stream."""
        while (end := self.buffer.find(b"\n", self.searched)) < 0:
            if len(self.buffer) > MAX_LINE:
                raise ValueError("line too long")
            self.searched = len(self.buffer)
            data = await self.stream.receive_some()
            if not data:
                return None
            self.buffer += data
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        self.searched = 0
        return line


async def echo(stream: trio.SocketStream) -> None:
    reader = LineReader(stream)
    while (line := await reader.readline()) is not None:
        await stream.send_all(handle(line) + b"\n")


async def main() -> None:
    listeners = await trio.open_tcp_listeners(options.port, host="127.0.0.1", backlog=1024)
    ready(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(echo, listeners)


options = arguments("lines")
trio.run(main)
