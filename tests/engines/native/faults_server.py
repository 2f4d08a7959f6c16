"""A server of the native engine for the tests of faults: every kind of handler, each at an address of its own.

``open`` is answered with what is open: descriptors, connections, those the gate counts, tasks. ``big`` is answered with
more than a socket takes at once. After ``nomemory N``, which comes back like anything else, the N-th allocation of the
interpreter fails. Over TLS where a certificate is named.
"""

import asyncio
import os
import sys

import penstock
from penstock.engines.native.engine import new_event_loop

SERVERS = []
OPTIONS = {"bind": "tls://127.0.0.1:0", "tls_cert": sys.argv[1]} if len(sys.argv) > 1 else {"bind": "tcp://127.0.0.1:0"}


def answer(message: bytes) -> bytes:
    """Do what the message says."""
    if message == b"open":
        counts = (
            len(os.listdir("/proc/self/fd")),
            sum(len(server.connections) for server in SERVERS),
            sum(server.gate.open for server in SERVERS),
            len(asyncio.all_tasks()),
        )
        return b"%d %d %d %d" % counts
    if message == b"big":
        return b"x" * 50_000
    if message.startswith(b"nomemory "):
        from _testcapi import set_nomemory  # not every interpreter has it

        count = int(message.split()[1])
        set_nomemory(count, count + 1)
    return message


async def answer_later(message: bytes) -> bytes:
    """Do it in a task, after something else."""
    await asyncio.sleep(0)
    return answer(message)


async def converse(conn: penstock.Connection[bytes]) -> None:
    """Answer until the peer ends."""
    async for message in conn:
        await conn.send(answer(message))


class Callbacks(penstock.Handler[bytes]):
    """Answers, and has something to do at the beginning and at the end."""

    def on_connect(self, conn: penstock.ConnectionBase[bytes]) -> None:
        """Keep something with the connection."""
        conn.state = self

    def on_message(self, conn: penstock.ConnectionBase[bytes], message: bytes) -> bytes:
        """Answer."""
        return answer(message)

    def on_close(self, conn: penstock.ConnectionBase[bytes], reason: penstock.CloseReason) -> None:
        """Let it go."""
        conn.state = None


async def main() -> None:
    """Serve until standard input ends."""
    services = (
        penstock.on_message(answer),
        penstock.on_connection(converse),
        penstock.on_message(answer_later),
        Callbacks,
    )
    for service in services:
        SERVERS.append(penstock.serve(service, engine="native", **OPTIONS))
        await SERVERS[-1].start()
    print(*(server.addresses[0] for server in SERVERS), flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()
    for server in SERVERS:
        await server.drain()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
