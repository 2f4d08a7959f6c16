"""What every Python competitor shares: its command line, its handler, and how it says that it listens."""

import argparse
from collections.abc import Callable, Coroutine
from typing import Any

MAX_LINE = 64 * 1024  # what asyncio's streams allow by default; every competitor refuses a longer line


def arguments(*framings: str, loops: tuple[str, ...] = ("asyncio",)) -> argparse.Namespace:
    """Parse ``--port`` (0: any free one), ``--framing`` and, where there is a choice, ``--loop``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--framing", choices=framings, default=framings[0])
    parser.add_argument("--loop", choices=loops, default=loops[0])
    return parser.parse_args()


def handle(line: bytes) -> bytes:
    """The handler: called once for each message, without its framing; returns the reply."""
    return line


def ready(port: int) -> None:
    """Say that connections are accepted."""
    print(f"READY {port}", flush=True)


def run(main: Callable[[], Coroutine[Any, Any, None]], loop: str) -> None:
    """Run an asyncio program on asyncio's own loop or on uvloop."""
    import asyncio

    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    else:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
