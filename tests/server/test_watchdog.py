"""The thread that watches the loop, where it has no memory to look."""

import threading

from penstock.server.watchdog import Watchdog


class StarvedLoop:
    """A loop whose state cannot be asked for at first."""

    def __init__(self):
        self.asked = 0
        self.answered = threading.Event()

    def call_later(self, delay, callback):
        return self

    def cancel(self):
        pass

    def is_closed(self):
        self.asked += 1
        if self.asked < 3:
            raise MemoryError
        self.answered.set()
        return False


def test_a_look_for_which_there_is_no_memory_is_not_the_last():
    """It goes on, and ends when it is told to."""
    loop = StarvedLoop()
    watchdog = Watchdog(loop, 0.01, print, print)
    watchdog.start()
    answered = loop.answered.wait(20)
    watchdog.stop()
    watchdog.stop()
    watchdog._thread.join(20)

    assert (True, False) == (answered, watchdog._thread.is_alive())
