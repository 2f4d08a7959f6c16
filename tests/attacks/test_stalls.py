"""T-31: a handler that holds the loop is named, once, with its stack."""

import asyncio
import sys
import threading
from pathlib import Path

import pytest

import penstock
from penstock.config import OverloadConfig
from penstock.core.events import EventName
from penstock.server.watchdog import holders
from penstock.testing.peers import PATIENCE_S


class Told:
    """An observer that sets an event when the watchdog speaks."""

    def __init__(self):
        self.event = threading.Event()
        self.frames = []

    def observe(self, event, /):
        if event.name is EventName.STALLED:
            self.frames.append(list(event.fields["frames"]))
            self.event.set()


@pytest.mark.engines("pure", "uvloop", "native")  # it runs on a loop
def test_a_handler_that_holds_the_loop_is_named_with_its_stack(serve, opened, tools, engine, figure):
    """It is told who it is while it still holds it, once for each time, and is otherwise left alone."""
    told = Told()

    def inner():
        assert told.event.wait(PATIENCE_S)

    @penstock.on_message(codec="lines")
    def holds(message):
        if message == b"hold":
            told.event.clear()
            inner()
        return message

    with serve(holds, overload=OverloadConfig(stall_s=0.1)) as server:
        server.server._observers.append(told)
        sock = server.dial()
        opened.append(sock)
        answers = [tools.ask(sock, line) for line in (b"hold\n", b"free\n", b"hold\n")]
        stalls = server.server.stats.stalls
    figure(f"T-31 {engine.label}: a handler that holds the loop 2 times is named {len(told.frames)} times")

    assert [b"hold\n", b"free\n", b"hold\n"] == answers
    assert 2 == stalls == len(told.frames)
    for frames in told.frames:
        mine = [frame for frame in frames if "test_stalls.py" in frame]
        assert mine[0].endswith("inner")
        assert mine[1].endswith("holds")


def test_a_server_that_is_busy_with_itself_is_not_the_fault_of_who_started_it():
    """Between the loop and whoever runs it, the command line say, there is nobody who could hold it."""
    path = Path(penstock.__file__).with_name("busy.py")
    scope = {"look": lambda: found.append(holders(sys._getframe(1)))}
    exec(compile("def work():\n    look()\n", path, "exec"), scope)
    found = []

    async def main():
        asyncio.get_running_loop().call_soon(scope["work"])
        await asyncio.sleep(0)

    asyncio.run(main())

    assert [[]] == found


def test_a_loop_that_waits_is_nobody_s_fault():
    """A thread that is in no handler has no holder: a machine without a free processor blames nobody."""
    assert [] == holders(None)
