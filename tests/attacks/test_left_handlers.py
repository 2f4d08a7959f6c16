"""Peers that leave while their handlers work or wait: connect, send, reset, again."""

import asyncio
import contextlib
import threading

import pytest

import penstock
from penstock.testing.peers import PATIENCE_S, reset

ROUNDS = 60
PER_PEER = 8


def test_an_address_that_resets_and_comes_again_has_no_more_handlers_than_it_may_have_connections(
    serve, dial_from, engine, figure
):
    """Each of its messages is worked on for long; its places are free, and it is refused all the same."""
    most = at_work = 0
    lock = threading.Lock()
    over = threading.Event()
    loops = []

    def begin():
        nonlocal most, at_work
        with lock:
            at_work += 1
            most = max(most, at_work)

    if engine.name == "blocking":

        @penstock.on_message(codec="lines")
        def work(message):
            begin()
            over.wait(PATIENCE_S)
    else:

        @penstock.on_message(codec="lines")
        async def work(message):
            begin()
            loops.append(asyncio.Event())
            await loops[-1].wait()

    def is_over(stats, judged, refused):
        """The latest one was refused, or it was let in and its handler is at work."""
        if stats.accepted + stats.refused.total() == judged:
            return False
        return stats.refused.total() > refused or at_work >= stats.accepted

    with serve(work, max_connections=1000, max_per_peer=PER_PEER, max_orphans=500) as server:
        for _ in range(ROUNDS):
            refused = server.server.stats.refused.total()
            judged = server.server.stats.accepted + refused
            sock = dial_from(server, "127.0.0.5")
            with contextlib.suppress(OSError):  # refused by now
                sock.sendall(b"work\n")
            while not server.call(lambda before=(judged, refused): is_over(server.server.stats, *before)):
                pass
            reset(sock)
        other = dial_from(server, "127.0.0.6")  # somebody else is served
        other.sendall(b"work\n")
        while server.call(lambda: at_work) < PER_PEER + 1:
            pass
        refused = server.server.stats.refused["per_peer"]
        over.set()
        server.call(lambda: [event.set() for event in loops])
    figure(f"{engine.label}: {ROUNDS} times connect, send, reset: {PER_PEER} handlers at work, {refused} refused")

    assert PER_PEER + 1 == most
    assert refused > 0


@pytest.mark.engines("pure", "uvloop", "native")  # a thread that waits for a queue holds its thread: docs/limits.md
def test_a_service_that_publishes_to_whoever_waits_does_not_fill_up_with_those_who_left(serve, dial_from):
    """Of handlers that wait for a queue, those whose peers have gone give way; the others hear the news."""
    queues = set()

    @penstock.on_connection(codec="lines")
    async def subscribe(conn):
        queue = asyncio.Queue()
        queues.add(queue)
        try:
            while (news := await queue.get()) is not None:
                await conn.send(news)
        finally:
            queues.discard(queue)

    with serve(subscribe, max_connections=8, max_per_peer=1000, max_orphans=4) as server:
        for number in range(ROUNDS):
            sock = dial_from(server)
            server.wait_until(lambda it, number=number: it.stats.accepted == number + 1)
            reset(sock)
            server.wait_until(lambda it, number=number: it.stats.orphaned == number + 1)
        listener = dial_from(server)
        server.wait_until(lambda it: it.stats.accepted == ROUNDS + 1)
        while server.call(lambda: len(queues)) > 5:  # the last ones to go are on their way
            pass
        server.call(lambda: [queue.put_nowait(b"news") for queue in queues])

        assert b"news\n" == listener.recv(100)
        assert {} == dict(server.server.stats.refused)
        server.call(lambda: [queue.put_nowait(None) for queue in queues])
