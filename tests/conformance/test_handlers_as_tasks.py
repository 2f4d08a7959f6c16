"""What a coroutine handler is to asyncio, whether it waits or not: one task, the current one while its code runs."""

import asyncio
import contextvars
import socket
import sys

import pytest

import penstock
from penstock.core.service import callbacks
from penstock.testing.peers import read_to_end

pytestmark = pytest.mark.engines("pure", "uvloop", "native", "attached", "eager", "eager-native")

NUMBER = contextvars.ContextVar("number", default=0)


def message_handler(handle):
    return penstock.on_message(codec="lines")(handle)


def conversation(handle):
    @penstock.on_connection(codec="lines")
    async def converse(conn):
        async for message in conn:
            reply = await handle(conn, message)
            if reply is not None:
                await conn.send(reply)

    return converse


def with_callbacks(handle):
    class Callbacks(penstock.Handler):
        async def on_message(self, conn, message):
            return await handle(conn, message)

    return callbacks(Callbacks, name="handle", codec="lines")


FORMS = {"message": message_handler, "conversation": conversation, "callbacks": with_callbacks}


@pytest.fixture(params=FORMS)
def service_of(request):
    """Makes a service of ``async handle(conn, message)``, in each form that has a task."""
    return FORMS[request.param]


async def nothing():
    """Wait for nothing."""


async def one_turn():
    await asyncio.sleep(0)


async def a_future():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_result, None)
    await future


async def a_thread():
    await asyncio.to_thread(lambda: None)


async def a_done_task():
    task = asyncio.create_task(nothing())
    while not task.done():
        await asyncio.sleep(0)
    await task


async def a_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(one_turn())
        group.create_task(nothing())


async def a_timeout():
    async with asyncio.timeout(60):
        await asyncio.sleep(0)


WAITS = (nothing, one_turn, a_future, a_thread, a_done_task, a_group, a_timeout)


def ask(server, *blocks):
    """Send each block when the one before is answered; return all that came back."""
    answers = []
    with server.dial() as peer:
        lines = peer.makefile("rb")
        for block in blocks:
            peer.sendall(block)
            answers += [lines.readline() for _ in range(block.count(b"\n"))]
        peer.shutdown(socket.SHUT_WR)

        assert b"" == read_to_end(peer)
        lines.close()
    return b"".join(answers)


def test_replies_keep_the_order_of_messages_however_their_handlers_wait(serve, service_of):
    """Law 1, for handlers that wait in every way and not at all, in one batch and message by message."""

    async def handle(conn, message):
        await WAITS[int(message) % len(WAITS)]()
        return message

    lines = [b"%d\n" % number for number in range(5 * len(WAITS))]
    with serve(service_of(handle)) as server:
        assert b"".join(lines) == ask(server, b"".join(lines))
        assert b"".join(lines) == ask(server, *lines)


def test_one_task_is_current_before_and_after_every_wait(serve, service_of):
    """It is the connection's, from its first message to its last; between handlers none is."""
    seen = []
    between = []

    async def handle(conn, message):
        loop = asyncio.get_running_loop()
        seen.append(asyncio.current_task())
        loop.call_soon(lambda: between.append(asyncio.current_task()))
        await WAITS[int(message)]()
        seen.append(asyncio.current_task())
        return message

    lines = [b"%d\n" % number for number in range(len(WAITS))]
    with serve(service_of(handle)) as server:
        ask(server, b"".join(lines), *lines)
        ask(server, *lines)
        server.wait_closed(2)

    first, second = seen[: 4 * len(WAITS)], seen[4 * len(WAITS) :]
    assert isinstance(first[0], asyncio.Task)
    assert isinstance(second[0], asyncio.Task)
    assert first[0] is not second[0]
    assert [first[0]] * 4 * len(WAITS) == first
    assert [second[0]] * 2 * len(WAITS) == second
    assert [None] * 3 * len(WAITS) == between


def test_context_variables_last_from_message_to_message(serve, service_of):
    """What is set before or after a wait, or in a function that waits, is seen by the next message."""

    async def handle(conn, message):
        NUMBER.set(NUMBER.get() + 1)
        await WAITS[int(message)]()
        NUMBER.set(NUMBER.get() + 1)
        return b"%d" % NUMBER.get()

    lines = [b"%d\n" % number for number in range(len(WAITS))]
    expected = b"".join(b"%d\n" % (2 * number) for number in range(1, 2 * len(WAITS) + 1))
    with serve(service_of(handle)) as server:
        assert expected == ask(server, b"".join(lines), *lines)
        assert expected == ask(server, *lines, b"".join(lines))


def test_a_timeout_ends_what_the_handler_waits_for(serve, service_of):
    """The handler goes on and answers; the next message finds no trace of it."""

    async def handle(conn, message):
        try:
            async with asyncio.timeout(0.001 if message == b"late" else 60):
                if message == b"late":
                    await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return b"%s: %d" % (message, asyncio.current_task().cancelling())
        return message

    with serve(service_of(handle)) as server:
        assert b"late: 0\nsoon\nlate: 0\nsoon\n" == ask(server, b"late\nsoon\n", b"late\n", b"soon\n")


def test_a_handler_that_cancels_its_own_task_is_cancelled_where_it_waits_next(serve, service_of):
    """As any task is: what it awaits is cancelled with it."""
    awaited = []

    async def handle(conn, message):
        task = asyncio.current_task()
        task.cancel("myself")
        awaited.append(asyncio.ensure_future(asyncio.sleep(3600)) if message == b"task" else None)
        try:
            await (awaited[-1] or asyncio.sleep(0))
        except asyncio.CancelledError:
            return b"%s cancelled %d" % (message, task.uncancel())
        return b"not cancelled"

    with serve(service_of(handle)) as server:
        assert b"task cancelled 0\nturn cancelled 0\n" * 2 == ask(server, b"task\n", b"turn\n", b"task\nturn\n")
        server.wait_closed(1)

    assert [True, True] == [future.cancelled() for future in awaited if future is not None]


@pytest.mark.parametrize("wait_s", [0, 3600])
def test_a_handler_that_is_cancelled_twice_meets_one_cancellation(serve, service_of, wait_s):
    """The second one comes before it has met the first: what stands in its ``finally`` runs."""
    met = []

    async def handle(conn, message):
        task = asyncio.current_task()
        task.cancel()
        asyncio.get_running_loop().call_soon(task.cancel)
        try:
            await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            met.append(message)
            raise

    with serve(service_of(handle), fails=None) as server, server.dial() as peer:
        peer.sendall(b"a\n")
        assert b"" == read_to_end(peer)
        server.reasons(1)

    assert [b"a"] == met


def test_a_cancellation_that_no_wait_of_the_handler_meets_ends_its_connection(serve, service_of):
    """Not swallowed because the handler did not wait: the reply goes out, and then the handler has failed."""

    async def handle(conn, message):
        if message == b"b":
            asyncio.current_task().cancel()
        return message

    with serve(service_of(handle), fails=1) as server:
        with server.dial() as peer:
            peer.sendall(b"a\n")
            assert b"a\n" == peer.recv(100)
            peer.sendall(b"b\n")

            assert b"b\n" == read_to_end(peer)
        assert ["handler_error"] == server.reasons(1)


def test_a_group_whose_task_fails_cancels_the_handler_that_waits(serve, service_of):
    """And what comes of it is the handler's to catch."""

    async def fail():
        raise ValueError("no")

    async def handle(conn, message):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.get_running_loop().create_future()
        except* ValueError:
            pass
        return message

    with serve(service_of(handle)) as server:
        assert b"a\nb\nc\n" == ask(server, b"a\n", b"b\nc\n")


@pytest.mark.parametrize("wait", [nothing, one_turn, a_thread], ids=lambda wait: wait.__name__)
@pytest.mark.parametrize("end", ["close", "abort", "drain", "stop", "cancel"])
def test_a_handler_may_end_its_connection_and_wait_or_not(serve, service_of, wait, end):
    """From inside, before or after it has waited: it comes to its end, and the connection too."""
    ended = []

    async def handle(conn, message):
        await wait()
        if end == "close":
            conn.close()
        elif end == "abort":
            conn.abort()
        elif end == "drain":
            conn.server.begin_drain()
        elif end == "stop":
            conn.server.begin_stop()
        else:
            asyncio.current_task().cancel()
        ended.append(message)
        await wait()
        ended.append(message)

    with serve(service_of(handle), fails=None) as server:
        with server.dial() as peer:
            peer.sendall(b"a\n")
            try:
                assert b"" == read_to_end(peer)
            except ConnectionError:
                assert end in ("abort", "stop")
        server.wait_closed(1)

    assert b"a" == ended[0]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_an_eager_task_may_receive_in_the_middle_of_a_handler(serve):
    """It runs within a step of the connection's task, and is another one: each gets what it asked for."""

    @penstock.on_message(codec="lines")
    async def handle(conn: penstock.Connection, message: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        task = asyncio.Task(conn.receive(), loop=loop, eager_start=True)
        conn.post(b"asked")
        own = asyncio.current_task()
        answer = await task
        assert own is asyncio.current_task()
        return message + b" " + answer

    with serve(handle) as server, server.dial() as peer:
        lines = peer.makefile("rb")
        for number in range(3):
            peer.sendall(b"question\n")
            assert b"asked\n" == lines.readline()
            peer.sendall(b"answer %d\n" % number)
            assert b"question answer %d\n" % number == lines.readline()
        lines.close()
        peer.shutdown(socket.SHUT_WR)

        assert b"" == read_to_end(peer)
