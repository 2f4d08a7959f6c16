"""An application in a test: served on free ports, with connections to its services."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from ..address import Address, parse_address
from ..client import connect
from ..codecs.base import Codec
from ..config import ServerConfig
from ..core.contract import Connection
from ..errors import ApplicationError
from ..server.server import Server
from .server import AppServer

if TYPE_CHECKING:
    from .app import App


class AppTest:
    """An application under test, from ``async with app.test() as t`` to the end of the block.

    Args:
        app: The application.
        configs: How, for each service; their addresses give way to others.

    Attributes:
        app: The application.
        server: What serves it.
    """

    server: AppServer

    def __init__(self, app: App[Any], configs: Mapping[str, ServerConfig]) -> None:
        self.app = app
        self._configs = configs
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._connections: list[Connection[Any]] = []

    def __getitem__(self, name: str) -> Server:
        """Return the server of one service: its `stats`, its connections, what can be waited for."""
        return self.server.servers[name]

    def address(self, name: str) -> str:
        """Return where a service listens."""
        return self[name].addresses[0]

    async def connect(self, name: str, *, codec: Codec[Any] | str | None = None) -> Connection[Any]:
        """Connect to a service, over its own codec or another. At the end of the block the connection is closed.

        Raises:
            ConnectError: It is refused.
        """
        conn = await connect(self.address(name), codec=self[name].service.codec if codec is None else codec)
        self._connections.append(conn)
        return conn

    async def __aenter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="penstock-")
        try:
            configs = {name: self._moved(name, config) for name, config in self._configs.items()}
            self.server = AppServer(self.app, configs)
            await self.server.start()
        except BaseException:
            self._directory.cleanup()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        assert self._directory is not None
        try:
            for conn in self._connections:
                conn.close()
            await self.server.__aexit__(kind, *exc_info)
            for conn in self._connections:
                conn.abort()
                await conn.wait_closed()
        finally:
            self._directory.cleanup()
        if kind is None and self.server.has_failed:
            raise ApplicationError("a lifespan failed at the end; the log says which")

    def _moved(self, name: str, config: ServerConfig) -> ServerConfig:
        moved = [self._place(f"{name}-{number}", parse_address(text)) for number, text in enumerate(config.bind)]
        return replace(config, bind=tuple(dict.fromkeys(moved)))

    def _place(self, file: str, address: Address) -> str:
        assert self._directory is not None
        if address.is_unix:
            return f"{address.scheme}:{self._directory.name}/{file}"
        return f"{address.scheme}://127.0.0.1:0"
