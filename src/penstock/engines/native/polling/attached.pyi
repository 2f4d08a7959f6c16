import asyncio

from .poller import Poller

class AttachedPoller(Poller):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None: ...
    def detach(self) -> None: ...
