"""A group as the limit has it: a message to each of many members; prints the CPU time of a delivery, in microseconds.

    python -m bench.servers.penstock_group CODEC MEMBERS ROUNDS TEXT

The port is its first line of output. With json-lines the message is the JSON string of the text.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from typing import Any

import penstock
from penstock.engines.native.engine import new_event_loop

group: penstock.Group[Any] = penstock.Group("all")


class Member(penstock.Handler[Any]):
    def on_connect(self, conn: penstock.ConnectionBase[Any]) -> None:
        group.join(conn)


def cpu_us() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return 1e6 * (usage.ru_utime + usage.ru_stime)


async def main(codec: str, members: int, rounds: int, text: str) -> None:
    message: Any = text if codec.startswith("json") else text.encode()
    gate: dict[str, Any] = {"max_connections": None, "max_per_peer": None}
    async with penstock.serve(
        Member, codec=codec, bind="tcp://127.0.0.1:0", engine="native", access_log=False, stall_warning=None, **gate
    ) as server:
        print(server.addresses[0].rpartition(":")[2], flush=True)
        await server.wait_until(lambda _: len(group) == members)
        before = cpu_us()
        for number in range(1, rounds + 1):
            group.publish(message)
            while group.stats.delivered < number * members:  # noqa: ASYNC110  # the loop delivers in its turns
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        print(f"{(cpu_us() - before) / (rounds * members):.4f}", flush=True)
        await server.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
