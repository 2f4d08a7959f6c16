"""A server on each engine, and what answers for it."""

import contextlib
import os

import pytest

import penstock
from penstock.control.process import ProcessControl
from penstock.engines.registry import ENGINES, native_missing
from penstock.server.beside import Steered

each_engine = pytest.mark.parametrize("engine", [name for name in ENGINES if name != "native" or not native_missing()])


@penstock.on_message(codec="lines")
def shout(message: bytes) -> bytes:
    """Answer in capitals."""
    return message.upper()


class Under:
    """A server, what answers for it, and what it was told."""

    def __init__(self, server):
        self.server = server
        self.levels = []
        self.control = ProcessControl(Steered("shout", server, self._reload), self._set_level)

    async def _reload(self):
        return "max_connections = 3"

    def _set_level(self, level):
        self.levels.append(level)
        return True

    async def ask(self, request):
        """Return what is answered."""
        return await self.control.answer(request)


@pytest.fixture
def under():
    """A block in which a server serves on an engine, with clients that have been answered once."""

    @contextlib.asynccontextmanager
    async def serve(engine, peers=0, **options):
        async with contextlib.AsyncExitStack() as stack:
            options.setdefault("bind", "tcp://127.0.0.1:0")
            server = await stack.enter_async_context(penstock.serve(shout, engine=engine, **options))
            clients = []
            for _ in range(peers):
                client = await stack.enter_async_context(await penstock.connect(server.addresses[0]))
                assert await client.request(b"a") == b"A"
                clients.append(client)
            yield Under(server), clients

    return serve


@pytest.fixture
def me():
    """This process's number."""
    return os.getpid()
