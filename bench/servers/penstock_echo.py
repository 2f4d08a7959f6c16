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
        return message  # as `handle`: one call for each message, in every form and by every competitor

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


# What a user gets who sets nothing; no limit at all; every limit and timeout there is, looked at and never reached.
LIMITS: dict[str, dict[str, Any]] = {
    "default": {},
    "off": {
        "gate": penstock.GateConfig(max_connections=None, max_per_peer=None),
        "timeouts": penstock.Timeouts(
            first_message_s=None, idle_s=None, message_s=None, write_s=None, message_bytes_per_s=None
        ),
        "overload": penstock.OverloadConfig(memory_bytes=None, write_total_bytes=None, stall_s=None),
        "tcp": penstock.TcpConfig(keepalive_s=None, user_timeout_s=None),
    },
    "on": {
        "gate": penstock.GateConfig(
            max_connections=10_000,
            max_per_peer=10_000,
            accept_rate=penstock.Rate(1_000_000),
            accept_rate_per_peer=penstock.Rate(1_000_000),
            allow=("127.0.0.0/8",),
            deny=("10.0.0.0/8",),
        ),
        "timeouts": penstock.Timeouts(
            first_message_s=10.0,
            idle_s=10.0,
            message_s=10.0,
            write_s=10.0,
            lifetime_s=3600.0,
            message_bytes_per_s=64 * 1024,
        ),
        "overload": penstock.OverloadConfig(memory_bytes=8 * 2**30, write_total_bytes=256 * 2**20, stall_s=0.1),
        "tcp": penstock.TcpConfig(keepalive_s=60.0, user_timeout_s=30.0),
    },
}


def _ready(server: penstock.Server) -> None:
    print(f"READY {server.addresses[0].rpartition(':')[2]}", flush=True)


async def _serve(service: Service, **options: Any) -> None:
    async with penstock.serve(service, **options) as server:
        _ready(server)
        await server.wait_stopped()


def start(service: Service, *, engine: str, loop: str, port: int, limits: str, tls_cert: str | None = None) -> None:
    """Serve until the process is ended.

    Args:
        service: What to serve.
        engine: Which engine moves the bytes.
        loop: "own" for the loop `penstock.run` chooses, or the one to make: "asyncio", "uvloop".
        port: 0 for any free one.
        limits: A key of `LIMITS`.
        tls_cert: A certificate and its key: speak TLS.
    """
    options: dict[str, Any] = {"bind": f"tcp://127.0.0.1:{port}", "engine": engine, **LIMITS[limits]}
    if tls_cert is not None:
        options |= {"bind": f"tls://127.0.0.1:{port}", "tls_cert": tls_cert, "tls_min": "1.3"}
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
    options.add_argument("--limits", choices=tuple(LIMITS), default="default")
    return options


def main() -> int:
    options = parser()
    options.add_argument("--handler", choices=tuple(FORMS), default="def-message")
    options.add_argument("--codec", default="lines", help="a codec spec: name or name:key=value,key=value")
    options.add_argument("--tls-cert", help="a certificate and its key: speak TLS")
    chosen = options.parse_args()
    service = FORMS[chosen.handler](chosen.codec)
    start(
        service,
        engine=chosen.engine,
        loop=chosen.loop,
        port=chosen.port,
        limits=chosen.limits,
        tls_cert=chosen.tls_cert,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
