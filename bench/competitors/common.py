"""What every Python competitor shares: its command line, its handler, and how it says that it listens."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import ssl

MAX_LINE = 64 * 1024  # what asyncio's streams allow by default; every competitor refuses a longer line


# Those of asyncio, of uvloop, and both with the transports of aiofastnet.
LOOPS = ("asyncio", "uvloop", "aiofastnet", "aiofastnet-uvloop")


def arguments(*framings: str, loops: tuple[str, ...] = LOOPS, waits: tuple[str, ...] = ()) -> argparse.Namespace:
    """Parse ``--port`` (0: any free one), ``--framing``, ``--loop`` and, where there is a choice, ``--wait``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--framing", choices=framings, default=framings[0])
    parser.add_argument("--tls-cert", help="a certificate and its key: speak TLS")
    parser.add_argument("--loop", choices=loops, default=loops[0])
    if waits:
        parser.add_argument("--wait", choices=waits, required=True)
    return parser.parse_args()


def handle(line: bytes) -> bytes:
    """The handler: called once for each message, without its framing; returns the reply."""
    return line


def context(options: argparse.Namespace) -> ssl.SSLContext | None:
    """What TLS is spoken with; None: nothing is ciphered."""
    if options.tls_cert is None:
        return None
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(options.tls_cert)
    return made


def ready(port: int) -> None:
    """Say that connections are accepted."""
    print(f"READY {port}", flush=True)


def run(main: Callable[[], Coroutine[Any, Any, None]], loop: str) -> None:
    """Run an asyncio program on asyncio's own loop or on uvloop, or on one of them whose transports are aiofastnet's."""
    import asyncio

    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop.endswith("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    if loop.startswith("aiofastnet"):
        import aiofastnet

        factory = aiofastnet.loop_factory(factory)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
