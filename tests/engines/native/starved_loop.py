"""The native engine's loop in a process of its own, where single allocations fail: test_loop.py starts it.

The hook that fails them is of the whole process: another thread of it would meet the fault as well.

Its argument names what it tries. It prints what was lost, and how often the call returned.
"""

import _testcapi
import asyncio
import json
import sys

from penstock.engines.native.loop import SPARES, NativeLoop

NUMBERS = range(12)  # more allocations than there are in each call


def starve(number, call, *arguments):
    """Call a function, whose allocation of this number fails; return whether it returned, and what."""
    try:
        _testcapi.set_nomemory(number, number + 1)
        found = call(*arguments)
    except (MemoryError, SystemError):  # the interpreter itself loses one now and then
        return False, None
    finally:
        _testcapi.remove_mem_hooks()
    return True, found


async def turns():
    """Let the loop do what it was asked for."""
    for _ in range(3):
        await asyncio.sleep(0)


async def wait(future):
    return await future


async def resumption():
    """A future is done, and a task waits for it: more often in a row than there are handles in reserve."""
    loop, lost, told = asyncio.get_running_loop(), [], 0
    for number in [*NUMBERS] * SPARES:
        future = loop.create_future()
        task = loop.create_task(wait(future))
        await asyncio.sleep(0)
        starve(number, future.set_result, None)
        await turns()
        told += future.done()
        if future.done() and not task.done():
            lost.append(number)
            loop._ready.clear()  # its end would be waited for
            asyncio.tasks._unregister_task(task)
        elif not future.done():
            future.cancel()
    return lost, told


async def call_of_a_thread():
    """A callback is handed over as another thread does it."""
    loop, lost, told = asyncio.get_running_loop(), [], 0
    for number in [*NUMBERS] * 4:
        called = []
        returned, _ = starve(number, loop.call_soon_threadsafe, called.append, number)
        await turns()
        told += returned
        if returned and not called:
            lost.append(number)
    return lost, told


async def call():
    """A callback is put off to the next turn; the last one is cancelled."""
    loop, asked, seen = asyncio.get_running_loop(), [], []
    for number in NUMBERS:
        returned, handle = starve(number, loop.call_soon, seen.append, number)
        if returned:
            asked.append((number, handle))
    asked.pop()[1].cancel()
    await turns()
    wanted = [number for number, _ in asked]
    return sorted({*wanted} ^ {*seen}), len(wanted)


with asyncio.Runner(loop_factory=NativeLoop) as runner:
    print(json.dumps(runner.run({"resumption": resumption, "thread": call_of_a_thread, "call": call}[sys.argv[1]]())))
