"""The loop of the native engine, where there is no memory for a moment."""

import asyncio
import collections
import contextlib
import gc
import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from penstock.engines.native.loop import SPARES, NativeLoop

pytest.importorskip("_testcapi")  # not every interpreter has it

SCRIPT = Path(__file__).with_name("starved_loop.py")
PATIENCE_S = 40


def tried(what):
    """Try it, with each allocation failing in turn; return what was lost, and how often the call returned."""
    done = subprocess.run([sys.executable, SCRIPT, what], capture_output=True, text=True, timeout=PATIENCE_S)

    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_a_task_whose_future_is_done_is_resumed_whichever_allocation_fails():
    """More often in a row than there are handles in reserve; else it could not even be cancelled."""
    lost, told = tried("resumption")

    assert [] == lost
    assert told > 0


def test_a_callback_of_another_thread_is_called_whichever_allocation_fails():
    """Or the thread is told that it is not."""
    lost, told = tried("thread")

    assert [] == lost
    assert told > 0


def test_a_callback_that_is_noted_in_reserve_has_the_context_it_was_given():
    """As any other one; and its handle cancels it."""
    lost, told = tried("call")

    assert [] == lost
    assert told > 0


class ShortQueue(collections.deque):
    """A queue that finds no memory for some of what is put into it."""

    def __init__(self, failing):
        super().__init__()
        self.failing = failing
        self.tried = 0

    def append(self, handle):
        self.tried += 1
        if self.tried in self.failing:
            raise MemoryError
        super().append(handle)


@pytest.mark.parametrize("args", [(), (1,), (1, 2)])
@pytest.mark.parametrize("failing", [{1}, {1, 2}, {1, 3}])
def test_a_callback_that_is_refused_is_never_called_and_costs_no_handle_in_reserve(failing, args):
    """Also where the queue has no room for the handle in reserve; one that is noted is called once."""
    loop = NativeLoop()
    loop._ready, called, noted = ShortQueue(failing), [], 0
    with contextlib.suppress(MemoryError):
        loop.call_soon(lambda *given: called.append(given), *args)
        noted += 1
    left = loop._ready
    while left:
        left.popleft()._run()
    spares = list(loop._spares)
    loop.close()

    assert noted == (failing == {1})
    assert [args] * noted == called
    assert SPARES == len(spares) == len(set(spares))
    assert [[None]] * SPARES == [handle._args for handle in spares]


def test_a_closed_loop_is_gone_with_the_last_reference_to_it():
    """And with it what it has: the buffers of its selector, and the context that it was made in."""
    gc.disable()
    try:
        loop = NativeLoop()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        loop.close()
        gone = weakref.ref(loop)
        del loop
        left = gone()
    finally:
        gc.enable()

    assert left is None
