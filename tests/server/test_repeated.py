"""What is done again and again: a moment without memory does not end it."""

import asyncio

from penstock.server.repeated import Repeated, pause


class Loop:
    """Notes what it is to call; it has no memory for some of the timers."""

    def __init__(self, *without):
        self.noted = []
        self.timers = 0
        self.without = without

    def call_later(self, delay_s, callback):
        self.timers += 1
        if self.timers in self.without:
            raise MemoryError
        return self.note(delay_s, callback)

    def call_soon(self, callback):
        return self.note(0, callback)

    def note(self, delay_s, callback):
        self.noted.append((delay_s, callback))
        return self

    def cancel(self):
        self.noted.clear()

    def go_on(self):
        """Call what is due next; return after how long that was."""
        delay_s, callback = self.noted.pop(0)
        callback()
        return delay_s


def test_it_is_called_at_once_and_again():
    """Until it is stopped, which may be before it begins."""
    loop, calls = Loop(), []
    repeated = Repeated(loop, 2.5, lambda: calls.append(len(calls)))
    repeated.stop()
    repeated.begin()
    delays = [loop.go_on() for _ in range(3)]
    repeated.stop()

    assert ([0, 1, 2, 3], [2.5] * 3, []) == (calls, delays, loop.noted)


def test_without_memory_for_its_timer_it_is_called_in_the_next_turn():
    """However often there is none."""
    loop, calls = Loop(2, 3), []
    Repeated(loop, 2.5, lambda: calls.append(loop.timers)).begin()
    delays = [loop.go_on() for _ in range(4)]

    assert [2.5, 0, 0, 2.5] == delays
    assert [1, 4, 5] == calls


def test_what_it_raises_ends_nothing():
    """It is the loop's to report."""
    loop = Loop()
    repeated = Repeated(loop, 2.5, lambda: 1 / 0)
    raised = 0
    for call in (repeated.begin, loop.go_on, loop.go_on):
        try:
            call()
        except ZeroDivisionError:
            raised += 1

    assert (3, 1) == (raised, len(loop.noted))


async def test_without_memory_a_pause_is_a_turn(monkeypatch):
    """What follows something looks again early, and goes on."""
    sleep, asked = asyncio.sleep, []

    async def fails(seconds):
        asked.append(seconds)
        if seconds:
            raise MemoryError
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", fails)
    await pause(3600)

    assert [3600, 0] == asked
