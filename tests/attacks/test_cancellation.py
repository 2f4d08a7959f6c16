"""Conversations that are cancelled at whatever they wait for, while their peers come and go. Law 2, law 6."""

import asyncio
import contextlib
import random
import threading
from unittest.mock import ANY

import pytest

import penstock
from penstock.testing.peers import reset

SEED = 20261121
THREADS, ROUNDS = 8, 40


@pytest.mark.engines("pure", "uvloop", "native")
def test_a_conversation_cancelled_at_any_await_is_one_end(serve, opened, tools, engine, figure):
    """Each await is left by a cancellation, a deadline or a loss; what was received once is never received again."""
    chance = random.Random(SEED)
    tasks, cancelled = set(), 0

    def cancel_somebody():
        nonlocal cancelled
        if tasks and chance.random() < 0.3:
            chance.choice(sorted(tasks, key=id)).cancel()
            cancelled += 1

    @penstock.on_connection(codec="lines:max=1MiB")
    async def converse(conn):
        task = asyncio.current_task()
        tasks.add(task)
        before = -1
        try:
            while True:
                step = chance.randrange(5)
                cancel_somebody()
                with contextlib.suppress(TimeoutError):
                    if step == 0:
                        async with asyncio.timeout(0.001):
                            number = int(await conn.receive())
                            assert number > before
                            before = number
                    elif step == 1:
                        number = int(await conn.receive(0.001))
                        assert number > before
                        before = number
                    elif step == 2:
                        async with asyncio.timeout(0.001):
                            await conn.send(b"x" * 100_000)
                    elif step == 3:
                        async with asyncio.timeout(0):
                            await conn.wait_closed()
                    else:
                        await asyncio.sleep(0)
        except penstock.ConnectionEndedError:
            pass
        finally:
            tasks.discard(task)

    def attack(seed, server):
        own = random.Random(seed)
        for _ in range(ROUNDS):
            with contextlib.suppress(OSError):
                sock = server.dial(receive_buffer_bytes=4096)
                opened.append(sock)
                sock.settimeout(0.01)
                for number in range(own.randrange(30)):
                    sock.sendall(b"%d\n" % number)
                    if own.random() < 0.3:
                        with contextlib.suppress(TimeoutError):
                            sock.recv(65536)
                if own.random() < 0.5:
                    reset(sock)
                else:
                    sock.close()

    with serve(converse, fails=ANY, access_log=False) as server:
        record = server.record
        attackers = [threading.Thread(target=attack, args=(SEED + index, server)) for index in range(THREADS)]
        for thread in attackers:
            thread.start()
        for thread in attackers:
            thread.join()
        server.wait_connections(0)
        closed = dict(server.server.stats.closed)
    figure(
        f"T-92 {engine.label}: {sum(closed.values())} conversations, {cancelled} cancellations at any await: {closed}"
    )

    assert set() == tasks
    assert [] == [error for error in record.failures if not isinstance(error, asyncio.CancelledError)]
    assert 0 < cancelled
