"""Much that flows both ways at once: whatever writes reads as well."""

import asyncio
import threading

import penstock
from penstock import Client, Pool, connect, connect_sync

MUCH = 8 << 20  # more than the kernel and both sides hold together


async def test_many_requests_at_once_have_their_replies(shout):
    """2,000 of 10 KB, with all defaults."""
    async with Client(shout.address) as client:
        replies = await asyncio.gather(*[client.request(b"%04d" % number + b"x" * 10_000) for number in range(2000)])

    assert [b"%04d" % number + b"X" * 10_000 for number in range(2000)] == replies


async def test_two_tasks_on_one_connection(shout):
    """One sends, the other receives."""
    count = MUCH // 10_001

    async def send():
        for _ in range(count):
            await conn.send(b"x" * 10_000)

    async with await connect(shout.address) as conn, asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        received = sum([len(await conn.receive()) for _ in range(count)])

    assert count * 10_000 == received


def test_two_threads_on_one_connection(shout):
    """The same without a loop."""
    count = MUCH // 10_001

    def send():
        for _ in range(count):
            conn.send(b"x" * 10_000)

    with connect_sync(shout.address) as conn:
        sender = threading.Thread(target=send)
        sender.start()
        received = sum([len(conn.receive()) for _ in range(count)])
        sender.join()

    assert count * 10_000 == received


async def test_a_request_is_answered_before_all_of_it_has_left(serve):
    """An echo of bytes answers while it is read: the request ends with the first of them, and goes on to be sent."""
    server = serve(penstock.on_message(codec="raw")(bytes))
    async with await connect(server.address, codec="raw") as conn:
        received = len(await conn.request(b"x" * MUCH))
        while received < MUCH:
            received += len(await conn.receive())
    async with Pool(server.address, codec="raw") as pool:
        first = await pool.request(b"x" * MUCH)

    assert (MUCH, True) == (received, 0 < len(first) < MUCH)


def test_a_request_without_a_loop_likewise(serve):
    """The thread that receives sends what is left."""
    server = serve(penstock.on_message(codec="raw")(bytes))
    with connect_sync(server.address, codec="raw") as conn:
        received = len(conn.request(b"x" * MUCH))
        while received < MUCH:
            received += len(conn.receive())

    assert MUCH == received


class Paused:
    """Is set when a server stops reading a peer, because that one does not read."""

    def __init__(self):
        self.paused = threading.Event()

    def observe(self, event, /):
        if event.name == "reading_paused":
            self.paused.set()


async def test_input_that_nobody_receives_is_bounded(serve, tools):
    """Who does not receive holds no more than ``read_bytes`` and one read beyond that, whatever is sent."""
    observer = Paused()
    server = serve(penstock.on_message(codec="raw")(lambda message: message * 100), observers=[observer])
    async with await connect(server.address, codec="raw", limits=penstock.Limits(read_bytes=10_000)) as conn:
        await conn.send(b"x" * 200_000)  # answered by 20 MB
        await tools.until(lambda: observer.paused.is_set() and conn.bytes_in > 10_000)
        await tools.turns()
        held = conn.bytes_in
        conn.abort()

    assert 20_000 >= held
