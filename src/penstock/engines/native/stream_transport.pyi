import asyncio
import socket

from .poller import Poller

class StreamTransport(asyncio.Transport):
    def __init__(self, poller: Poller, sock: socket.socket, protocol: asyncio.Protocol, read_bytes: int) -> None: ...
    def begin(self) -> None: ...
