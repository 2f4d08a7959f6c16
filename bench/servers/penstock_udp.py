"""A datagram echo; prints the port.

python -m bench.servers.penstock_udp {native,pure,uvloop}
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import penstock


@penstock.on_message(codec="raw")
def echo(message: bytes) -> bytes:
    return message


async def main(engine: str) -> None:
    gate: dict[str, Any] = {"engine": engine, "access_log": False, "stall_warning": None}
    async with penstock.serve(echo, bind="udp://127.0.0.1:0", **gate) as server:
        print(server.addresses[0].rpartition(":")[2], flush=True)
        await server.wait_stopped()


def factory(name: str) -> Any:
    if name == "native":
        from penstock.engines.native.engine import new_event_loop  # it may not be there
    elif name == "uvloop":
        from uvloop import new_event_loop
    else:
        from asyncio import new_event_loop
    return new_event_loop


if __name__ == "__main__":
    chosen = sys.argv[1]
    with asyncio.Runner(loop_factory=factory(chosen)) as runner:
        runner.run(main("native" if chosen == "native" else "pure"))
