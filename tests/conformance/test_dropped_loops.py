"""A loop that is dropped without being closed, with everything that was at work on it, leaves nothing."""

import os
import subprocess
import sys

import pytest

from penstock.testing.peers import PATIENCE_S

# In a process of its own: what a test runner keeps of the log keeps a server alive.
PROGRAM = """
import asyncio, gc, os, socket, sys, warnings, weakref
import penstock
from penstock.engines.native.engine import new_event_loop

engine, loop_name, service_name, peers = sys.argv[1:]
make = {"asyncio": asyncio.SelectorEventLoop, "native": new_event_loop}[loop_name]
warnings.simplefilter("ignore", ResourceWarning)  # that it was dropped is what asyncio complains of

@penstock.on_message(codec="lines")
def messages(message):
    return message

@penstock.on_connection(codec="lines")
async def conversation(conn):
    async for message in conn:
        await conn.send(message)

def descriptors():
    return len(os.listdir("/proc/self/fd"))

async def serve(peers):
    server = penstock.serve(globals()[service_name], engine=engine, bind="tcp://127.0.0.1:0")
    await server.start()
    for _ in range(peers):
        with socket.create_connection(("127.0.0.1", int(server.addresses[0].rpartition(":")[2]))) as peer:
            peer.sendall(b"half a line")
            await server.wait_connections(1)
        if peers > 1:
            await server.wait_connections(0)

before = descriptors()
loop = make()
loop.run_until_complete(serve(int(peers)))
gone = weakref.ref(loop)
del loop
for _ in range(3):
    gc.collect()
print("gone" if gone() is None else "there", descriptors() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted as Linux shows them")
@pytest.mark.parametrize(("name", "loop"), [("pure", "asyncio"), ("native", "native"), ("native", "asyncio")])
@pytest.mark.parametrize("service", ["messages", "conversation"])
@pytest.mark.parametrize("peers", [0, 1, 2], ids=["none", "one that is there", "those that have left"])
def test_a_loop_that_is_dropped_leaves_nothing(name, loop, service, peers):
    """Neither a descriptor nor an object: not the server's, not a connection's, not a thread of ours."""
    command = [sys.executable, "-c", PROGRAM, name, loop, service, str(peers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    assert "gone 0\n" == done.stdout, done.stderr
