"""Connections that live through a roll: their peers notice nothing, whoever of the two workers dies."""

import asyncio
import gc
import json
import os
import selectors
import signal
import socket
import threading
import time
from collections import Counter
from types import SimpleNamespace

import pytest

import penstock
from penstock.engines.registry import ENGINES, native_missing
from penstock.testing.peers import dial
from penstock.testing.thread import ServerThread
from penstock.workers import handing

from .conftest import PATIENCE_S, answer, ask

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="workers are a thing of Unix")

LOOPS = [name for name in ENGINES if name != "blocking" and (name != "native" or not native_missing())]
each_engine = pytest.mark.parametrize("engine", LOOPS)

# Answers with its process, how often it was asked on this connection, the connection's number, and the message.
APP = '''\
import asyncio, os, sys, time
import penstock

VERSION = "one"

class Numbered(penstock.Handler):
    count = 0

    def on_message(self, conn, message):
        self.count += 1
        if message == b"own":
            conn.task(asyncio.sleep(600), name="own")
        return f"{os.getpid()} {VERSION} {self.count} {conn.id} {message.decode()}".encode()

    def on_handover(self, conn):
        return self.count

    def on_takeover(self, conn, state: int):
        self.count = state

class Unwilling(Numbered):
    def on_takeover(self, conn, state: int):
        if os.path.exists("unwilling"):
            raise RuntimeError("not today")
        super().on_takeover(conn, state)

app = penstock.App()

@app.on_message(codec="lines", handover=True, bind="tcp://127.0.0.1:0")
def room(conn, message):
    if message.startswith(b"join "):
        app.group("room").join(conn)
        app.registry("names").hold(("name", message[5:].decode()), conn)
        return f"{os.getpid()} {conn.id}".encode()
    if message.startswith(b"own "):
        app.group("own", scope="process").join(conn)
        own = app.registry("own", scope="process")
        own.hold(message[4:], conn, on_taken="refuse")
        return f"{os.getpid()} {len(app.group('own'))} {app.group('own').elsewhere} {own.scope}".encode()
    if message.startswith(b"say "):
        app.group("room").publish(message[4:])
        return None
    found = app.registry("names").get(("name", message.decode()))
    return f"{os.getpid()} {found and found.id}".encode()

@penstock.on_connection(codec="lines", handover=True)
async def conversing(conn):
    count = conn.state or 0
    conn.checkpoint(count)
    async for message in conn:
        count += 1
        await conn.send(f"{os.getpid()} {VERSION} {count} {conn.id} {message.decode()}".encode())
        conn.checkpoint(count)

@penstock.on_connection(codec="lines", handover=True)
async def thinking(conn):
    count = conn.state or 0
    conn.checkpoint(count)
    async for message in conn:
        count += 1
        if message == b"think":
            print("begins to think", file=sys.stderr, flush=True)
            while not os.path.exists("go"):
                await asyncio.sleep(0.01)
        await conn.send(f"{os.getpid()} {VERSION} {count} {conn.id} {message.decode()}".encode())
        conn.checkpoint(count)

class Slow(Numbered):
    """Takes over once there is a file ``go``, or dies then if there is one that says so."""

    def on_takeover(self, conn, state: int):
        open("taking", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)
        if os.path.exists("deadly"):
            os.remove("deadly")
            os.kill(os.getpid(), 9)
        super().on_takeover(conn, state)
'''


@pytest.fixture
def serving(directory, supervise):
    """A function that serves one of the classes with workers."""
    (directory / "numbered.py").write_text(APP)

    def start(name, engine="auto", codec="lines", **options):
        codecs = [] if codec is None else ["--codec", codec]
        return supervise(f"numbered:{name}", "--engine", engine, *codecs, **options)

    return start


def fields(text):
    """Return process, version, count, number and message of an answer."""
    return text.split()


def roll(served):
    """Roll; return how many connections moved, drained and were cut, once the old workers are gone."""
    served.tell(signal.SIGHUP)
    served.said("reloaded: ")
    return [int(word) for word in served.said("handed over: ").replace(",", "").split() if word.isdecimal()]


@each_engine
def test_a_roll_keeps_connections_and_their_state(serving, engine):
    """The next worker answers on the same connection, knows what was counted, and calls it by the same number. It goes
    so for several rolls, and for connections that were accepted in between."""
    served = serving("Numbered", engine)
    peers = [served.connect() for _ in range(20)]
    first = [fields(ask(peer)) for peer in peers]
    app = served.directory / "numbered.py"
    app.write_text(app.read_text().replace('VERSION = "one"', 'VERSION = "newer"'))
    moved, drained, cut = roll(served)[-3:]
    peers.append(served.connect())
    first.append(fields(ask(peers[-1])))
    second = [fields(ask(peer, b"again")) for peer in peers]

    assert (20, 0, 0) == (moved, drained, cut)
    assert {"1"} == {count for _, _, count, _, _ in first}
    assert {("newer", "2", "again")} == {(version, count, message) for _, version, count, _, message in second}
    assert [number for *_, number, _ in first] == [number for *_, number, _ in second]
    assert len(peers) == len({number for *_, number, _ in second})
    assert not {pid for pid, *_ in first[:20]} & {pid for pid, *_ in second}
    assert [21, 0, 0] == roll(served)[-3:]
    assert {"3"} == {fields(ask(peer))[2] for peer in peers}
    for peer in peers:
        peer.close()
    assert 0 == served.stop()


def test_what_cannot_move_drains_and_is_told_apart(serving):
    """A background task belongs to its process; its connection ends as at any roll."""
    served = serving("Numbered")
    moving, staying = served.connect(), served.connect()
    ask(moving)
    ask(staying, b"own")
    moved, drained, cut = roll(served)[-3:]

    assert (1, 1, 0) == (moved, drained, cut)
    assert "2" == fields(ask(moving))[2]
    assert "" == answer(staying)
    moving.close()
    staying.close()
    assert 0 == served.stop()


def test_a_handler_that_cannot_take_over_leaves_its_connection_to_the_old_worker(serving):
    """It is answered what it has sent, and drains; the failure is told."""
    served = serving("Unwilling")
    peer = served.connect()
    ask(peer)
    (served.directory / "unwilling").touch()
    moved, drained, cut = roll(served)[-3:]

    assert (0, 1, 0) == (moved, drained, cut)
    assert "" == answer(peer)
    peer.close()
    assert 0 == served.stop()
    assert "not today" in served.rest()


def test_groups_and_keys_move_with_their_connections(serving):
    """Who published before hears and is heard after, and a name still leads to its connection."""
    served = serving("app", codec=None, workers=1, bind=())
    one, two = served.connect(), served.connect()
    before, number = ask(one, b"join one").split()
    ask(two, b"join two")
    assert [2, 0, 0] == roll(served)[-3:]
    one.sendall(b"say hello\n")

    assert "hello" == answer(one) == answer(two)
    after, found = ask(two, b"one").split()
    assert number == found
    assert before != after
    one.close()
    two.close()
    assert 0 == served.stop()


class Counting(penstock.Handler):
    count = 0

    def on_message(self, conn, message):
        self.count += 1
        return b"%d %s" % (self.count, message)

    def on_takeover(self, conn, state: None):
        raise AssertionError("nobody takes over")


def ask_in_bytes(peer, message):
    peer.sendall(message)
    return peer.recv(100)


def test_a_new_worker_that_does_not_answer_is_told_and_the_connections_go_on(monkeypatch):
    """It has begun nothing, and should it wake, it reads that it must not before the end of the stream."""
    monkeypatch.setattr(handing, "ANSWER_S", 0.05)
    ours, theirs = socket.socketpair()
    over = threading.Event()
    with ServerThread(Counting, codec="lines") as server, theirs, dial(server.address) as peer:
        assert b"1 one\n" == ask_in_bytes(peer, b"one\n")
        departure = server.call(lambda: handing.Departure(ours, [server.server], over.set))
        assert over.wait(PATIENCE_S)
        said, descriptors, _, _ = socket.recv_fds(theirs, 65536, 64)
        for descriptor in descriptors:
            os.close(descriptor)
        while more := theirs.recv(65536):
            said += more

        assert ["offer", "back"] == [json.loads(line)["say"] for line in said.splitlines()]
        assert (1, 0) == (len(descriptors), departure.moved)
        assert server.call(gc.isenabled)
        assert b"2 two\n" == ask_in_bytes(peer, b"two\n")


async def test_no_garbage_is_collected_while_connections_move_and_again_after_that(monkeypatch):
    """In whatever way it ends, and for a while at most. Where the program has turned the collector off, it stays so."""
    try:
        begun = handing.CollectorPause()
        begun.begin()
        begun.begin()
        assert not gc.isenabled()
        begun.end()
        begun.end()
        assert gc.isenabled()

        monkeypatch.setattr(handing, "UNCOLLECTED_S", 0.0)
        begun.begin()
        while not gc.isenabled():
            await asyncio.sleep(0)
        begun.begin()
        assert gc.isenabled()
        gc.disable()
        begun.end()
        assert not gc.isenabled()
        other = handing.CollectorPause()
        other.begin()
        other.end()
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.fixture
def collector():
    """The collector of garbage, which is on again after the test."""
    yield gc
    gc.enable()


async def test_without_memory_for_the_end_of_a_pause_none_begins(monkeypatch, collector):
    """Else no garbage were ever collected again, where memory is short."""

    def fails(*_):
        raise MemoryError

    pause = handing.CollectorPause()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "call_later", fails)
        pause.begin()

    assert collector.isenabled()


class AtWork:
    """A connection whose conversation does not come to its checkpoint; it notes in which turn it is looked at."""

    close_reason = None

    def __init__(self, number, look):
        self.id = number
        self.hold = lambda _: look()
        self.why_it_stays = lambda: look() or "it is at work"

    def is_at_work(self):
        return True


async def test_thousands_that_are_at_work_do_not_have_the_loop_of_their_worker(monkeypatch):
    """Some are looked at in each of its turns: they need it to come to their checkpoints."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    turn, looks = 0, []

    def turns():
        nonlocal turn
        turn += 1
        if not over.is_set():
            loop.call_soon(turns)

    conns = [AtWork(number, lambda: looks.append(turn)) for number in range(3 * handing.LOOKED_AT)]
    server = SimpleNamespace(mover=object(), suspend=lambda: None, busy=set, stays=lambda _: None, connections=conns)
    monkeypatch.setattr(handing, "AT_WORK_S", 0.05)
    ours, theirs = socket.socketpair()
    with theirs:
        turns()
        departure = handing.Departure(ours, [server], over.set)
        await over.wait()

    assert 0 == departure.moved
    assert handing.LOOKED_AT == max(Counter(looks).values())
    assert 0 == len(looks) % len(conns)  # each as often as every other


async def test_garbage_is_collected_while_nothing_moves(collector):
    """What is at work is looked at again later, and a worker that waits for that serves."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    looks, waits = [], []

    def turns():
        if not over.is_set():
            if looks:
                waits.append(collector.isenabled())
            loop.call_soon(turns)

    def look():
        looks.append(collector.isenabled())
        if len(looks) == 3:
            conn.close_reason = "done"  # and is looked at no more

    conn = AtWork(1, look)
    server = SimpleNamespace(mover=object(), suspend=lambda: None, busy=set, stays=lambda _: None, connections=[conn])
    ours, theirs = socket.socketpair()
    with theirs:
        turns()
        handing.Departure(ours, [server], over.set)
        await over.wait()

    assert ({False}, {True}) == (set(looks), set(waits))
    assert collector.isenabled()


def begin_to_roll(served):
    """Roll; return once the next worker is in the middle of `on_takeover`, which ends when there is a file ``go``."""
    served.tell(signal.SIGHUP)
    until = time.monotonic() + PATIENCE_S
    while not (served.directory / "taking").exists():
        assert served.process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_new_worker_that_dies_while_it_takes_over_leaves_them_to_the_old_one(serving):
    """What was sent meanwhile is answered by the old worker, which then drains."""
    served = serving("Slow", workers=1)
    peer = served.connect()
    pid = fields(ask(peer))[0]
    (served.directory / "deadly").touch()
    begin_to_roll(served)
    peer.sendall(b"still there\n")
    (served.directory / "go").touch()

    assert [pid, "one", "2"] == fields(answer(peer))[:3]
    assert "" == answer(peer)
    peer.close()
    served.said("ended by itself")
    assert 0 == served.stop()


def test_an_old_worker_that_dies_once_it_has_offered_leaves_them_to_the_new_one(serving):
    """Nobody else has them: the next worker answers."""
    served = serving("Slow", workers=1)
    peer = served.connect()
    pid, *_, number, _ = fields(ask(peer))
    begin_to_roll(served)
    os.kill(int(pid), signal.SIGKILL)
    peer.sendall(b"still there\n")
    (served.directory / "go").touch()
    found = fields(answer(peer))

    assert pid != found[0]
    assert ["2", number] == found[2:4]
    peer.close()
    served.said("drained and failed")
    assert 0 == served.stop()


class Conversation:
    """A peer that sends without waiting and compares every byte that comes."""

    def __init__(self, sock):
        self.sock = sock
        self.sent = self.got = 0
        self.data = b""

    def send(self, count):
        self.sock.sendall(b"".join(b"%d\n" % number for number in range(self.sent, self.sent + count)))
        self.sent += count

    def read(self):
        """Read what is there; every answer has to be the next one."""
        more = self.sock.recv(65536)
        assert more, "the connection has ended"
        *lines, self.data = (self.data + more).split(b"\n")
        for line in lines:
            _, _, count, _, message = line.split()
            assert (self.got + 1, self.got) == (int(count), int(message))
            self.got += 1


def converse(served, peers, rounds):
    """Keep up to 8 messages of each peer on their way, until each has had so many more answers."""
    wanted = {peer: peer.got + rounds for peer in peers}
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(peer.sock, selectors.EVENT_READ, peer)
            peer.send(8)
        left = len(peers)
        while left:
            found = selector.select(PATIENCE_S)
            assert found
            for key, _ in found:
                peer = key.data
                before = peer.got
                peer.read()
                if peer.got < wanted[peer]:
                    peer.send(peer.got - before)
                elif peer.got == peer.sent:
                    selector.unregister(peer.sock)
                    left -= 1


def conversations_through_rolls(served, connections, rolls):
    """Have all of them converse while the workers are replaced again and again; return how many moved."""
    peers = [Conversation(served.connect()) for _ in range(connections)]
    converse(served, peers, 1)
    moved = 0
    for _ in range(rolls):
        served.tell(signal.SIGHUP)
        converse(served, peers, 40)
        counts = [int(word) for word in served.said("handed over: ").replace(",", "").split() if word.isdecimal()]
        assert [0, 0] == counts[-2:]
        moved += counts[-3]
    for peer in peers:
        assert peer.got == peer.sent
        peer.sock.close()
    return moved


@each_engine
def test_pipelined_conversations_go_through_rolls_without_a_byte_lost(serving, engine):
    """No disconnect, and each answer is the next one: nothing is lost, doubled or out of order."""
    served = serving("Numbered", engine)

    assert 60 * 3 == conversations_through_rolls(served, 60, 3)
    assert 0 == served.stop()


@each_engine
def test_conversations_of_coroutines_go_through_rolls_from_their_checkpoints(serving, engine):
    """Each worker begins them anew, and their peers notice nothing."""
    served = serving("conversing", engine)

    assert 60 * 3 == conversations_through_rolls(served, 60, 3)
    assert 0 == served.stop()


@each_engine
def test_another_supervisor_takes_the_connections_over(serving, engine):
    """SIGUSR2: the workers of the old one hand theirs to those of the new one, who knows them by the same numbers."""
    served = serving("Numbered", engine)
    peers = [served.connect() for _ in range(10)]
    first = [fields(ask(peer)) for peer in peers]
    served.tell(signal.SIGUSR2)
    served.said("has taken over; this one drains")
    moved, drained, cut = [
        int(word) for word in served.said("handed over: ").replace(",", "").split() if word.isdecimal()
    ][-3:]
    assert 0 == served.process.wait(PATIENCE_S)
    peers.append(served.connect())
    first.append(fields(ask(peers[-1])))
    second = [fields(ask(peer)) for peer in peers]

    assert (10, 0, 0) == (moved, drained, cut)
    assert {"2"} == {count for _, _, count, _, _ in second}
    assert [number for *_, number, _ in first] == [number for *_, number, _ in second]
    assert len(peers) == len({number for *_, number, _ in second})
    for peer in peers:
        peer.close()
    os.kill(json.loads(served.process.stdout.readline())["pid"], signal.SIGTERM)
    served.rest()


@pytest.mark.full
@pytest.mark.timeout(300)
@each_engine
def test_two_thousand_conversations_through_twenty_rolls(serving, engine, figure):
    """The same at full size."""
    served = serving("Numbered", engine)

    moved = conversations_through_rolls(served, 2000, 20)
    assert 2000 * 20 == moved
    figure(f"handover, {engine}: 2,000 pipelined conversations through 20 rolls, {moved} moved, none ended")
    assert 0 == served.stop()


def test_a_conversation_that_is_at_work_moves_once_it_has_come_to_its_checkpoint(serving):
    """It has a moment for that. What it works at is answered by the worker that has received it."""
    served = serving("thinking", workers=1)
    with served.connect() as peer:
        pid, *_ = fields(ask(peer))
        peer.sendall(b"think\n")
        served.said("begins to think")
        served.tell(signal.SIGHUP)
        served.said("reloaded: ")
        (served.directory / "go").touch()
        during = fields(answer(peer))
        counts = [int(word) for word in served.said("handed over: ").replace(",", "").split() if word.isdecimal()]
        after = fields(ask(peer))

    assert [1, 0, 0] == counts[-3:]
    assert (pid, "2", "3") == (during[0], during[2], after[2])
    assert pid != after[0]
    assert 0 == served.stop()


def test_what_is_of_each_process_is_so_after_a_roll(serving):
    """A group and a registry that the handler asks for with a scope, and nobody else: the first one to ask for them in
    the next worker is the connection that comes. Two workers may have the same key."""
    served = serving("app", codec=None)
    peers = served.connect_to_each(2).values()
    before = [ask(peer, b"own same").partition(" ")[2] for peer in peers]
    moved, drained, cut = roll(served)[-3:]
    after = [ask(peer, b"own same").partition(" ")[2] for peer in peers]

    assert (2, 0, 0) == (moved, drained, cut)
    assert [["1 0 process"] * 2] * 2 == [before, after]
    for peer in peers:
        peer.close()
    assert 0 == served.stop()
