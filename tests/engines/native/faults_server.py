"""A server of the native engine for the tests of faults: a message handler, and at a second address a conversation.

``open`` is answered with the number of descriptors, ``big`` with more than a socket takes at once;
anything else comes back.
"""

import asyncio
import os
import sys

import penstock
from penstock.engines.native.engine import new_event_loop


def answer(message: bytes) -> bytes:
    """Do what the message says."""
    if message == b"open":
        return b"%d" % len(os.listdir("/proc/self/fd"))
    if message == b"big":
        return b"x" * 50_000
    return message


async def converse(conn: penstock.Connection[bytes]) -> None:
    """Answer until the peer ends."""
    async for message in conn:
        await conn.send(answer(message))


async def main() -> None:
    """Serve until standard input ends."""
    options = {"bind": "tcp://127.0.0.1:0", "engine": "native"}
    async with (
        penstock.serve(penstock.on_message(answer), **options) as messages,
        penstock.serve(penstock.on_connection(converse), **options) as conversations,
    ):
        print(messages.addresses[0], conversations.addresses[0], flush=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        await ended.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
