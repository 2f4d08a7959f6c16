import asyncio

from ..polling.poller import Poller

class Waiter(asyncio.Future[None]):
    def __init__(self, poller: Poller, loop: asyncio.AbstractEventLoop) -> None: ...
