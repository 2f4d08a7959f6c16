"""What every client program shares: it connects, and asks as often as it is told to, one request in flight.

It prints ``{"ready": true}``; then, for each line ``COUNT`` on its standard input, ``{"cpu_ns": N}``: the CPU time, user and
system, that so many requests cost this process.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable

REQUEST = b"a request of thirty-one octets."


def arguments(**choices: tuple[str, ...]) -> argparse.Namespace:
    """Parse ``--port`` and ``--core``, and an option for each of ``choices``, whose first value is the default."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    for name, values in choices.items():
        parser.add_argument(f"--{name}", choices=values, default=values[0])
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    return options


def check(reply: bytes) -> None:
    """Refuse what is not the echo of the request."""
    if reply != REQUEST:
        sys.exit(f"the reply was {reply!r}")


def say(**what: object) -> None:
    """Tell the bench."""
    print(json.dumps(what), flush=True)


def obey(ask: Callable[[int], object]) -> None:
    """Do what standard input says until it ends; ``ask(count)`` asks so often."""
    say(ready=True)
    for line in sys.stdin:
        began = time.process_time_ns()
        ask(int(line))
        say(cpu_ns=time.process_time_ns() - began)


def obey_in_loop(
    connect: Callable[[], Awaitable[Callable[[int], Awaitable[object]]]],
    factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> None:
    """Likewise in a loop, which stands still in between."""
    with asyncio.Runner(loop_factory=factory) as runner:

        async def connected() -> Callable[[int], Awaitable[object]]:
            return await connect()

        ask = runner.run(connected())
        loop = runner.get_loop()
        obey(lambda count: loop.run_until_complete(ask(count)))
