"""T-31: a handler that holds the loop is named, once, with its stack."""

import asyncio
import contextlib
import logging
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

import penstock
from penstock.config import OverloadConfig
from penstock.core.events import EventName
from penstock.server.watchdog import holders
from penstock.testing.peers import PATIENCE_S


class Told:
    """An observer that sets an event when the watchdog speaks.

    Attributes:
        event: Set while a handler holds the loop and was named.
        frames: Of each stall, innermost first.
        durations_s: Of each that is over.
    """

    def __init__(self):
        self.event = threading.Event()
        self.frames = []
        self.durations_s = []

    def observe(self, event, /):
        if event.name is EventName.STALLED:
            self.frames.append(list(event.frames))
            self.event.set()
        elif event.name is EventName.STALL_ENDED:
            self.durations_s.append(event.duration_s)
            self.event.clear()


@pytest.mark.engines("pure", "uvloop", "native")  # it runs on a loop
def test_a_handler_that_holds_the_loop_is_named_with_its_stack(serve, opened, tools, until, engine, figure):
    """It is told who it is while it still holds it, once for each time, and is otherwise left alone."""
    told, waited = Told(), []

    def inner():
        began = time.perf_counter()
        assert told.event.wait(PATIENCE_S)
        waited.append(time.perf_counter() - began)

    @penstock.on_message(codec="lines")
    def holds(message):
        if message == b"hold":
            inner()
        return message

    with serve(holds, overload=OverloadConfig(stall_s=0.1)) as server:
        server.server._observers.append(told)
        stats = server.server.stats
        sock = server.dial()
        opened.append(sock)
        answers = []
        for line in (b"hold\n", b"free\n", b"hold\n"):
            until(server, lambda it: not it.stats.stalled)
            answers.append(tools.ask(sock, line))
    figure(
        f"T-31 {engine.label}: a handler that holds the loop 2 times is named {len(told.frames)} times, after "
        f"{' and '.join(f'{seconds * 1e3:.0f} ms' for seconds in waited)}"
    )

    assert [b"hold\n", b"free\n", b"hold\n"] == answers
    assert (2, False) == (stats.stalls, stats.stalled)  # the last one is over at the end of the server, at the latest
    assert 2 == len(told.frames)
    assert pytest.approx(sum(told.durations_s)) == stats.stalled_s
    assert all(told_s >= held_s for told_s, held_s in zip(told.durations_s, waited, strict=True))
    for frames in told.frames:
        mine = [frame for frame in frames if "test_stalls.py" in frame]
        assert mine[0].endswith("inner")
        assert mine[1].endswith("holds")


@pytest.mark.full
@pytest.mark.engines("pure", "uvloop", "native")
def test_who_holds_the_loop_for_two_seconds_is_named_while_they_do(serve, opened, tools, until, engine, figure, caplog):
    """T-31: one warning before it is over, the gauge is up and down again, and another server does not notice."""
    told, waited = Told(), []

    @penstock.on_message(codec="lines")
    def holds(message):
        began = time.perf_counter()
        if told.event.wait(2.0):
            waited.append(time.perf_counter() - began)
        time.sleep(max(0.0, began + 2.0 - time.perf_counter()))
        return message

    @penstock.on_message(codec="lines")
    def answer(message):
        return message

    with contextlib.ExitStack() as stack:
        other = stack.enter_context(serve(answer))
        with other.dial() as beside:  # its loop has what it needs
            assert b"ping\n" == tools.ask(beside)
        other.wait_connections(0)
        server = stack.enter_context(serve(holds))
        stack.enter_context(caplog.at_level(logging.WARNING, logger="penstock"))
        server.server._observers.append(told)
        stats = server.server.stats
        sock = server.dial()
        opened.append(sock)
        answers, gauge = [], []
        sock.sendall(b"hold\n")
        assert told.event.wait(PATIENCE_S)
        gauge.append(stats.stalled)
        with other.dial() as beside:
            answers += [tools.ask(beside) for _ in range(100)]
        assert b"hold\n" == sock.recv(5)
        until(server, lambda it: not it.stats.stalled)
        gauge.append(stats.stalled)
        other.wait_connections(0)
    lines = [line for line in caplog.messages if "a handler blocks the event loop" in line]
    figure(
        f"T-31 {engine.label}: a handler that holds the loop for 2 s is named after {sum(waited) * 1e3:.0f} ms, in "
        f"{len(lines)} line; {stats.stalled_s:.2f} s were seen; another server answers {len(answers)} of 100 meanwhile"
    )

    assert [b"ping\n"] * 100 == answers
    assert [True, False] == gauge
    assert 1 == stats.stalls == len(waited) == len(lines)
    assert 2.0 <= stats.stalled_s


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


def called(*places):
    """Return who is said to hold a loop that runs code of these files and names, the outermost first."""
    found = []
    scope = {"call": lambda: found.extend(holders(sys._getframe(1)))}
    for path, name in reversed(places):
        code = "call()" if name == "<module>" else f"def {name}():\n    call()\n{name}()"
        scope = {"call": partial(exec, compile(code, path, "exec"), scope)}

    async def main():
        asyncio.get_running_loop().call_soon(scope["call"])
        await asyncio.sleep(0)

    asyncio.run(main())
    return [place.rpartition(" ")[2] for place in found]


def test_what_is_imported_for_the_first_time_is_no_handler():
    """A module of ours, on a machine with no time to spare: nobody could do anything about it."""
    ours, finder = str(Path(penstock.__file__)), ("<frozen importlib._bootstrap>", "_find_and_load")
    handler = ("app.py", "handle")

    assert [] == called(handler, (ours, "__getattr__"), finder)
    assert [] == called(handler, (ours, "__getattr__"), finder, (ours, "<module>"), ("typing.py", "TypeVar"))
    assert "look_up" in called(handler, finder, ("driver.py", "look_up"))


def test_a_loop_that_waits_is_nobody_s_fault():
    """A thread that is in no handler has no holder: a machine without a free processor blames nobody."""
    assert [] == holders(None)
