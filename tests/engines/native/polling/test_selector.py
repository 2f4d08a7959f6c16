"""`call_soon_threadsafe` on the engine's own loop: the loop is woken where it waits, and by the first call alone."""

import asyncio
import contextlib
import threading

from penstock.engines.native.engine import new_event_loop
from penstock.engines.native.polling.selector import NativeSelector

from ....descriptors import PATIENCE_S, none_left_open

THREADS = 3
CALLS = 100


def run(main):
    """Run a coroutine in a loop of the engine's."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def test_none_of_many_calls_is_lost():
    """Each thread goes on when its call has run: the loop goes to wait, and is called, again and again."""

    async def main():
        loop = asyncio.get_running_loop()
        counts = [0] * THREADS

        def work(mine):
            for _ in range(CALLS):
                ran = threading.Event()

                def call(ran=ran):
                    counts[mine] += 1
                    ran.set()

                loop.call_soon_threadsafe(call)
                assert ran.wait(PATIENCE_S)

        await asyncio.gather(*(asyncio.to_thread(work, mine) for mine in range(THREADS)))
        return counts

    assert [CALLS] * THREADS == run(main())


def test_what_a_call_puts_off_to_the_next_turn_is_done():
    """The loop was woken for the call alone: it looks again before it waits."""

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(loop.call_soon, done.set_result, "done"))
        thread.start()
        found = await done
        thread.join(PATIENCE_S)
        return found

    assert "done" == run(main())


def test_a_call_from_a_callback_costs_no_wake_up():
    """The loop that runs needs no call: the socket pair that asyncio would write to stays empty."""

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon_threadsafe(done.set_result, "done")
        with contextlib.suppress(BlockingIOError):
            return loop._ssock.recv(1)
        return await done

    assert "done" == run(main())


def test_a_selector_that_wakes_no_loop_says_so():
    """Then asyncio wakes it, as ever: one that asyncio's own loop was given."""
    with NativeSelector() as selector:
        assert not selector.wake()


def test_a_closed_loop_keeps_no_descriptor():
    """The bell is closed with the set."""
    new_event_loop().close()
    with none_left_open():
        new_event_loop().close()
