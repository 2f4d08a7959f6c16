"""Penstock's side: the same echo in each form a handler can have, on each engine.

Prints ``READY <port>``, or ``SKIP <reason>`` where the native engine is not built.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Any

import penstock

Service = penstock.Service[Any]


def handle(message: bytes) -> bytes:
    """Return the reply: the same function as the competitors call."""
    return message


def def_message(codec: str) -> Service:
    return penstock.on_message(codec=codec, name="echo")(handle)


def async_message(codec: str) -> Service:
    @penstock.on_message(codec=codec)
    async def echo(message: bytes) -> bytes:
        return handle(message)

    return echo


def connection(codec: str) -> Service:
    @penstock.on_connection(codec=codec)
    async def echo(conn: penstock.Connection[bytes]) -> None:
        async for message in conn:
            await conn.send(handle(message))

    return echo


def blocking_connection(codec: str) -> Service:
    @penstock.on_connection(codec=codec)
    def echo(conn: penstock.BlockingConnection[bytes]) -> None:
        for message in conn:
            conn.send(handle(message))

    return echo


class Echo(penstock.Handler[bytes]):
    """The same as callbacks, with an instance per connection."""

    def on_message(self, conn: penstock.ConnectionBase[bytes], message: bytes) -> bytes:
        return handle(message)


def callbacks(codec: str) -> Service:
    return penstock.as_service(Echo, codec=codec)


# A def connection handler holds a thread as long as its connection: the default pool would serve a few at a time.
MOST_THREADS = 1024

FORMS: dict[str, Callable[[str], Service]] = {
    "def-message": def_message,
    "async-message": async_message,
    "connection": connection,
    "blocking-connection": blocking_connection,
    "callbacks": callbacks,
}


def _ready(server: penstock.Server) -> None:
    print(f"READY {server.addresses[0].rpartition(':')[2]}", flush=True)


async def _serve(service: Service, **options: Any) -> None:
    async with penstock.serve(service, **options) as server:
        _ready(server)
        await server.wait_stopped()


def start(service: Service, *, engine: str, loop: str, port: int) -> None:
    """Serve until the process is ended.

    Args:
        service: What to serve.
        engine: Which engine moves the bytes.
        loop: "own" for the loop `penstock.run` chooses, or the one to make: "asyncio", "uvloop".
        port: 0 for any free one.
    """
    options: dict[str, Any] = {"bind": f"tcp://127.0.0.1:{port}", "engine": engine, "access_log": False}
    if engine == "blocking":
        options["threads"] = MOST_THREADS
    try:
        if loop == "own":
            penstock.run(service, on_ready=_ready, **options)
            return
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
        if loop == "uvloop":
            import uvloop

            factory = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_serve(service, **options))
    except penstock.ConfigurationError as error:
        # The other engines are always there: with them this is a failure, not a reason to skip.
        if engine != "native":
            raise
        print(f"SKIP {error}", flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the options that every Penstock server of the bench takes."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--engine", choices=("auto", "native", "pure", "blocking"), default="auto")
    options.add_argument("--loop", choices=("own", "asyncio", "uvloop"), default="own")
    return options


def main() -> int:
    options = parser()
    options.add_argument("--handler", choices=tuple(FORMS), default="def-message")
    options.add_argument("--codec", default="lines", help="a codec spec: name or name:key=value,key=value")
    chosen = options.parse_args()
    start(FORMS[chosen.handler](chosen.codec), engine=chosen.engine, loop=chosen.loop, port=chosen.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
