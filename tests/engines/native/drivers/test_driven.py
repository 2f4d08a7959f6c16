"""The steps of a connection's task are done in place: a message that its handler need not wait for wakes no task."""

import asyncio
import contextlib
import socket
from asyncio.tasks import _PyTask

import pytest

import penstock
from penstock.core.service import callbacks
from penstock.engines.native.engine import new_event_loop
from penstock.testing.peers import read_exactly, read_to_end
from penstock.testing.served import served


@penstock.on_message(codec="lines")
async def answer(message: bytes) -> bytes:
    return await look(message)


@penstock.on_connection(codec="lines")
async def converse(conn):
    async for message in conn:
        await conn.send(await look(message))


@penstock.on_connection(codec="lines")
async def receive(conn):
    with contextlib.suppress(penstock.EndOfStreamError):
        while True:
            await conn.send(await look(await conn.receive()))


class Called(penstock.Handler):
    async def on_message(self, conn, message):
        return await look(message)


SERVICES = {
    "message": answer,
    "iteration": converse,
    "receive": receive,
    "callbacks": callbacks(Called, name="called", codec="lines"),
}
SEEN = []


async def look(message):
    """Note what the current task hangs at, as asyncio sees it; wait for something else where told."""
    SEEN.append(asyncio.current_task()._fut_waiter)
    if message == b"wait":
        await asyncio.sleep(0)
    return message


def talk(service, *lines, loop_factory=new_event_loop):
    """Exchange lines one after the other with a service."""
    SEEN.clear()
    with served(service, loop_factory=loop_factory, engine="native", fails=None) as server, server.dial() as peer:
        for line in lines:
            peer.sendall(line)
            assert line == read_exactly(peer, len(line))
        peer.shutdown(socket.SHUT_WR)

        assert b"" == read_to_end(peer)
    seen = list(SEEN)
    SEEN.clear()  # what a task hung at refers to much else
    return seen


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_the_task_hangs_where_it_did_however_many_messages_come(service):
    """In a task that was woken it would be None. It hangs at what it hung at before, until it has to wait elsewhere."""
    waiters = talk(service, b"a\n", b"b\nc\n", b"d\n", b"wait\n", b"e\n", b"f\n")

    assert None not in waiters
    assert 1 == len(set(waiters[:5]))
    assert 1 == len(set(waiters[5:]))
    assert waiters[4] is not waiters[5]


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_task_that_is_not_in_c_is_woken(service):
    """What it hangs at is its own affair."""

    def loop_factory():
        loop = new_event_loop()
        loop.set_task_factory(lambda loop, coroutine, **options: _PyTask(coroutine, loop=loop, **options))
        return loop

    assert [None] * 4 == talk(service, b"a\n", b"b\n", b"wait\n", b"c\n", loop_factory=loop_factory)


def test_another_task_that_receives_is_woken():
    """Its steps are nobody else's."""

    @penstock.on_connection(codec="lines")
    async def hand_on(conn):
        with contextlib.suppress(penstock.EndOfStreamError):
            while True:
                message = await asyncio.create_task(conn.receive())
                await conn.send(await look(message))

    assert [None] * 3 == talk(hand_on, b"a\n", b"b\n", b"c\n")
