"""Keys and requests over the workers of a server: one connection for each key, found by all."""

import contextlib
import os
import random
import signal
import threading

import pytest

from ..conftest import answer, ask, await_answer, pause

APP = """\
import os
import penstock

app = penstock.App("keys")
devices = app.registry("devices")

@app.on_connection(codec="lines")
async def device(conn):
    async for line in conn:
        try:
            match line.split():
                case [b"hold", key, on_taken]:
                    devices.hold(key, conn, on_taken=on_taken.decode())
                    answer = "held"
                case [b"ask", key, message, timeout]:
                    reply = await devices[key].request(message, timeout_s=float(timeout))
                    answer = f"{type(devices.get(key)).__name__} {reply.decode()}"
                case [b"post", key, message]:
                    devices[key].post(message)
                    answer = "posted"
                case [b"close", key]:
                    devices[key].close()
                    answer = "closed"
                case [b"has", key]:
                    answer = f"{key in devices} {len(devices.all(key))}"
                case _:
                    answer = str(os.getpid())
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        await conn.send(answer.encode())
"""


pytestmark = pytest.mark.parametrize("engine", ["native", "pure"])


@pytest.fixture
def workers(engine, directory, supervise):
    """Three workers, and a function that connects to each."""
    (directory / "app.py").write_text(APP)
    supervised = supervise("app:app", "--engine", engine, workers=3)
    with contextlib.ExitStack() as stack:

        def connect():
            peers = supervised.connect_to_each(3)
            for peer in peers.values():
                stack.enter_context(peer)
            return peers

        yield supervised, connect


def replies(peer, count=1):
    """Answer requests as a device does."""
    with peer.makefile("rwb", buffering=0) as lines:
        for _ in range(count):
            lines.write(b"re:" + lines.readline())


def test_a_key_has_one_connection_and_every_worker_finds_it(workers):
    """By replacing, refusing and joining; requests, posts and closes reach it."""
    supervised, connect = workers
    (_, first), (_, second), (_, third) = connect().items()
    assert ["held", "True 1"] == [ask(first, b"hold k replace"), ask(third, b"has k")]
    assert "KeyTakenError: another connection has the key b'k' in devices" == ask(second, b"hold k refuse")
    answering = threading.Thread(target=replies, args=(first,))
    answering.start()
    assert "DistantConnection re:locate" == ask(third, b"ask k locate 20")
    answering.join()
    assert "posted" == ask(second, b"post k news")
    assert "news" == answer(first)
    assert "TimeoutError: " == ask(second, b"ask k quiet 0.01")
    assert "held" == ask(second, b"hold k replace")
    assert answer(first) in ("quiet", "")  # it was asked, unless that took longer
    assert "" == answer(first)  # it is closed, and its end does not take the winner out
    assert ["True 1", "held", "True 2"] == [ask(third, b"has k"), ask(third, b"hold k join"), ask(second, b"has k")]
    assert "closed" == ask(second, b"close k")
    assert "" == answer(third)
    await_answer(second, b"has k", "True 1")  # a peer sees the end before its handler has ended
    assert "closed" == ask(connect().popitem()[1], b"close k")
    assert "" == answer(second)
    others = connect().values()
    for peer in others:  # likewise
        await_answer(peer, b"has k", "False 0")
    assert {"KeyError: b'k'"} == {ask(peer, b"ask k x 1") for peer in others}
    assert supervised.stop() == 0


def test_a_request_to_a_worker_that_is_killed_is_lost_and_its_key_is_free(workers):
    """The answer is an error that says so, and comes at once."""
    supervised, connect = workers
    (killed, first), (_, second), _ = connect().items()
    assert "held" == ask(first, b"hold k refuse")
    second.sendall(b"ask k locate 20\n")
    assert "locate" == answer(first)
    os.kill(killed, signal.SIGKILL)

    assert "RequestLostError: the connection was lost before the reply came: network" == answer(second)
    supervised.said("ended by itself")
    assert "held" == ask(second, b"hold k refuse")
    supervised.stop()


def test_at_any_churn_a_key_has_one_connection_at_last(workers):
    """Devices come to all workers at once, each replaces the one before, and one of them is left."""
    supervised, connect = workers
    crowd = [list(connect().values()) for _ in range(4)]
    chance = random.Random(5)
    peers = [peer for each in crowd for peer in each]
    chance.shuffle(peers)
    for peer in peers:
        peer.sendall(b"hold k replace\n")
    heard = {peer: answer(peer) for peer in peers}
    left = [peer for peer in peers if heard[peer] and not is_closed(peer)]
    while len(left) > 1:
        pause()
        left = [peer for peer in left if not is_closed(peer)]

    assert 1 == len(left)
    assert {"True 1"} == {ask(peer, b"has k") for peer in connect().values()}
    assert ask(left[0], b"pid").isdigit()
    assert supervised.stop() == 0


def is_closed(peer):
    """Whether the server has closed a connection."""
    peer.setblocking(False)
    try:
        return peer.recv(100) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        peer.settimeout(40)
