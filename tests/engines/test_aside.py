"""Calls beside a loop, and threads that never begin: CPython's own `Thread.start` would wait for those for ever."""

import asyncio
import threading

import pytest

from penstock.engines import aside as module
from penstock.engines.aside import aside, start_thread
from penstock.errors import LimitError


@pytest.fixture
def stillborn(monkeypatch):
    """Threads have no memory to begin with: nothing of theirs ever runs."""
    monkeypatch.setattr(module, "_BEGINS_S", 0.01)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda thread: None)


def test_what_it_returns_and_raises_is_that_of_the_call():
    """In a thread of the name that was given."""

    async def main():
        name = await aside(lambda: threading.current_thread().name, "a name")
        with pytest.raises(ZeroDivisionError):
            await aside(lambda: 1 // 0, "a name")
        return name

    assert "a name" == asyncio.run(main())


def test_a_call_that_takes_long_is_waited_for(monkeypatch):
    """Longer than for a thread to begin."""
    monkeypatch.setattr(module, "_BEGINS_S", 0.01)
    go = threading.Event()

    async def main():
        answer = asyncio.create_task(aside(lambda: go.wait(20), "slow"))
        await asyncio.wait((answer,), timeout=0.05)
        waited = not answer.done()
        go.set()
        return waited, await answer

    assert (True, True) == asyncio.run(main())


def test_a_thread_that_never_begins_holds_no_loop(stillborn):
    """The call is without memory, as it is told."""

    async def main():
        with pytest.raises(MemoryError, match="penstock-resolve"):
            await aside(lambda: None, "penstock-resolve")

    asyncio.run(main())


def test_a_thread_that_a_server_needs_and_that_never_begins_is_none(stillborn):
    """As where the system gives none."""
    with pytest.raises(LimitError, match="penstock-1"):
        start_thread(threading.Thread(target=lambda: None, name="penstock-1", daemon=True))


def test_a_thread_that_has_begun_is_alive_and_can_be_joined():
    """As one that was started by itself."""
    go = threading.Event()
    thread = threading.Thread(target=go.wait, args=(20,), daemon=True)
    start_thread(thread)
    lived = thread.is_alive()
    go.set()
    thread.join(20)

    assert (True, False) == (lived, thread.is_alive())
