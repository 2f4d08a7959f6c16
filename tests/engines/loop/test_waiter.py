"""A future that resumes its task at once."""

import asyncio
import contextvars

import pytest

from penstock.engines.loop.waiter import Waiter

who = contextvars.ContextVar("who", default="nobody")


@pytest.fixture
def loop():
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def waiting(loop, coroutine):
    """Start a task and let it come as far as it can."""
    task = loop.create_task(coroutine)
    loop.run_until_complete(asyncio.sleep(0))
    return task


def test_the_task_goes_on_inside_the_call_that_wakes_it(loop):
    """No turn of the loop in between; the task is the current one, in its own context."""
    waiter, seen = Waiter(loop), []

    async def wait():
        who.set("the task")
        await waiter
        seen.append((asyncio.current_task(), who.get()))

    def wake():
        waiter.wake()
        seen.append(who.get())

    task = waiting(loop, wait())
    loop.call_soon(wake)
    loop.run_until_complete(asyncio.sleep(0))

    assert [(task, "the task"), "nobody"] == seen


def test_a_task_is_not_entered_in_the_middle_of_another(loop):
    """Woken by a task, it goes on at the loop's next turn."""
    waiter, seen = Waiter(loop), []

    async def wait():
        await waiter
        seen.append("resumed")

    async def wake():
        waiter.wake()
        seen.append("woke")

    task = waiting(loop, wait())
    loop.run_until_complete(wake())
    loop.run_until_complete(task)

    assert ["woke", "resumed"] == seen


def test_it_may_be_woken_before_anybody_waits(loop):
    """And then nobody has to."""
    waiter = Waiter(loop)
    waiter.wake()

    async def wait():
        await waiter
        return "went on"

    assert "went on" == loop.run_until_complete(wait())


def test_a_cancelled_task_is_not_woken(loop):
    """Cancelling comes first: what comes after it changes nothing."""
    waiter = Waiter(loop)

    async def wait():
        await waiter

    task = waiting(loop, wait())
    task.cancel()
    waiter.wake()
    loop.run_until_complete(asyncio.wait([task]))

    assert task.cancelled()
    assert not waiter.cancel()


def test_an_exception_reaches_the_task(loop):
    """As that of any future."""
    waiter = Waiter(loop)

    async def wait():
        await waiter

    task = waiting(loop, wait())
    waiter.set_exception(OSError("gone"))

    with pytest.raises(OSError, match="gone"):
        loop.run_until_complete(task)


def test_what_ends_the_loop_ends_the_loop_and_not_the_transport(loop):
    """SystemExit in the task goes where it would have gone: not through whoever woke it."""
    waiter = Waiter(loop)

    async def wait():
        await waiter
        raise SystemExit(3)

    task = waiting(loop, wait())
    waiter.wake()

    with pytest.raises(SystemExit):
        loop.run_until_complete(asyncio.sleep(0))
    assert task.done()
    assert isinstance(task.exception(), SystemExit)
