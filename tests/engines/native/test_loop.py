"""The loop of the native engine, where there is no memory for a moment."""

import asyncio
import contextlib

import pytest

from penstock.engines.native.loop import SPARES, NativeLoop

testcapi = pytest.importorskip("_testcapi")  # not every interpreter has it


@contextlib.contextmanager
def starved(number):
    """One allocation fails. What needs it raises, or does without."""
    with contextlib.suppress(MemoryError, SystemError):  # the interpreter itself loses one now and then
        testcapi.set_nomemory(number, number + 1)
        try:
            yield
        finally:
            testcapi.remove_mem_hooks()


async def wait(future):
    return await future


def run(coroutine):
    with asyncio.Runner(loop_factory=NativeLoop) as runner:
        return runner.run(coroutine)


def test_a_task_whose_future_is_done_is_resumed_whichever_allocation_fails():
    """More often in a row than there are handles in reserve; else it could not even be cancelled."""

    async def main():
        loop, lost, told = asyncio.get_running_loop(), [], 0
        for number in [*range(12)] * SPARES:
            future = loop.create_future()
            task = loop.create_task(wait(future))
            await asyncio.sleep(0)
            with starved(number):
                future.set_result(None)
            for _ in range(3):
                await asyncio.sleep(0)
            told += future.done()
            if future.done() and not task.done():
                lost.append(number)
                loop._ready.clear()  # its end would be waited for
                asyncio.tasks._unregister_task(task)
            elif not future.done():
                future.cancel()
        return lost, told

    lost, told = run(main())

    assert [] == lost
    assert told >= 11 * SPARES


def test_a_callback_of_another_thread_is_called_whichever_allocation_fails():
    """Or the thread is told that it is not."""

    async def main():
        loop, lost = asyncio.get_running_loop(), []
        for number in [*range(12)] * 4:
            called, noted = [], False
            with starved(number):
                loop.call_soon_threadsafe(called.append, number)
                noted = True
            for _ in range(3):
                await asyncio.sleep(0)
            if noted and not called:
                lost.append(number)
        return lost

    assert [] == run(main())


def test_a_callback_that_is_noted_in_reserve_has_the_context_it_was_given():
    """As any other one; and its handle cancels it."""

    async def main():
        loop, seen = asyncio.get_running_loop(), []
        handles = []
        for number in range(12):
            with starved(number):
                handles.append(loop.call_soon(seen.append, number))
        cancelled = handles.pop()
        cancelled.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        return seen, len(handles)

    seen, noted = run(main())

    assert noted == len(seen)
    assert noted >= 10
