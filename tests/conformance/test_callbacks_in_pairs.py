"""`Handler.on_close` is called once for each connection whose `on_connect` was called, and for no other.

However early the connection ends, and whatever the server does meanwhile.
"""

import asyncio
import contextlib

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.core.service import callbacks
from penstock.testing.peers import read_to_end, reset

TURNS = range(10)  # of the loop, between what ends a connection and what ends the server
LOOPS = ("pure", "uvloop", "native", "attached", "eager", "eager-native")


class Calls:
    """What was called, in order."""

    def __init__(self):
        self.names = []
        self.at_message = lambda conn: None
        self.loop = None

    def service(self, *, is_async):
        calls = self

        class Callbacks(penstock.Handler):
            def __init__(self):
                with contextlib.suppress(RuntimeError):  # an engine of threads has none
                    calls.loop = asyncio.get_running_loop()

            def on_connect(self, conn):
                calls.names.append("on_connect")

            def on_message(self, conn, message):
                calls.at_message(conn)

            def on_close(self, conn, reason):
                calls.names.append("on_close")

        class AsyncCallbacks(Callbacks):
            async def on_connect(self, conn):
                Callbacks.on_connect(self, conn)

            async def on_message(self, conn, message):
                Callbacks.on_message(self, conn, message)

            async def on_close(self, conn, reason):
                Callbacks.on_close(self, conn, reason)

        return callbacks(AsyncCallbacks if is_async else Callbacks, name="paired", codec="lines")


def after(turns, act):
    """Do something after so many turns of the loop; at once for none."""
    if turns:
        asyncio.get_running_loop().call_soon(after, turns - 1, act)
    else:
        act()


def forms(engine):
    """The ways in which an engine calls callbacks: whether they are coroutines, and the model."""
    yield False, "loop"
    if engine.name != "blocking":
        yield True, "loop"
        yield False, "threads"


@pytest.mark.engines(*LOOPS)
@pytest.mark.parametrize("end", ["abort", "close"])
def test_on_close_is_called_though_the_server_is_cut_before_it_began(serve, engine, end):
    """The end of the connection and the server's end come any number of turns apart."""
    for is_async, model in forms(engine):
        for turns in TURNS:
            calls = Calls()

            def at_message(conn, turns=turns, calls=calls):
                def act():
                    getattr(conn, end)()
                    after(turns, conn.server.begin_stop)

                calls.loop.call_soon_threadsafe(act)

            with serve(calls.service(is_async=is_async), model=model) as server, server.dial() as peer:
                calls.at_message = at_message
                peer.sendall(b"a\n")
                with contextlib.suppress(ConnectionError):
                    read_to_end(peer)
                server.reasons(1)

            assert ["on_connect", "on_close"] == calls.names, (is_async, model, turns)


def test_a_server_that_is_cut_when_it_has_accepted_calls_both_or_neither(serve, engine):
    """Any number of turns after it has; on an engine of threads, at once."""
    for is_async, model in forms(engine):
        for turns in TURNS if engine.name != "blocking" else range(1):
            calls = Calls()

            class Ends:
                def observe(self, event, turns=turns):
                    if event.name is EventName.ACCEPTED:
                        after(turns, event.connection.server.begin_stop)

            with serve(calls.service(is_async=is_async), model=model, observers=[Ends()]) as server:
                with contextlib.suppress(ConnectionError), server.dial() as peer:
                    read_to_end(peer)
                server.reasons(1)

            assert calls.names in (["on_connect", "on_close"], []), (is_async, model, turns)


def test_a_peer_that_resets_at_once_has_both_called_or_neither(serve, engine):
    """Before a thread or a task has begun for it, or after."""
    for is_async, model in forms(engine):
        calls = Calls()
        with serve(calls.service(is_async=is_async), model=model, timeouts=Timeouts(drain_s=10.0)) as server:
            for _ in range(50):
                reset(server.dial())
            server.reasons(50)

        assert calls.names.count("on_connect") == calls.names.count("on_close"), (is_async, model)


@pytest.mark.engines(*LOOPS)
def test_a_task_of_on_close_that_others_cancel_before_it_began_begins_anew(serve, engine):
    """A handler may cancel every task of its loop but its own."""
    for turns in TURNS:
        calls = Calls()

        def cancel_others():
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task() and "_conclude" in repr(task.get_coro()):
                    task.cancel()

        def at_message(conn, turns=turns):
            conn.abort()
            after(turns, cancel_others)

        with serve(calls.service(is_async=True)) as server, server.dial() as peer:
            calls.at_message = at_message
            peer.sendall(b"a\n")
            with contextlib.suppress(ConnectionError):
                read_to_end(peer)
            server.reasons(1)

        assert ["on_connect", "on_close"] == calls.names, turns
