"""What a worker does of what its supervisor tells it, with a supervisor that is none."""

import asyncio
import socket
import threading

import pytest

import penstock
from penstock.testing.peers import dial
from penstock.testing.thread import ServerThread
from penstock.workers import handing, member
from penstock.workers.member import Member
from penstock.workers.messages import VERSION, Begin, HandedOver, HandOver, TakeOver

from .conftest import PATIENCE_S

pytestmark = pytest.mark.skipif(not hasattr(socket, "send_fds"), reason="workers are a thing of Unix")


class Counting(penstock.Handler):
    """Answers each message with its number."""

    count = 0

    def on_message(self, conn, message):
        self.count += 1
        return b"%d %s" % (self.count, message)

    def on_handover(self, conn):
        return self.count

    def on_takeover(self, conn, state: int):
        self.count = state


class Mesh:
    """The other workers, with one that does not answer, or another fault."""

    def __init__(self, acquainted):
        self.acquainted = acquainted

    async def heard(self):
        """They do not say what they have published, either."""
        await self.acquainted()

    def settle(self):
        """No further connection comes."""


class Supervisor:
    """Hears what a worker says, and knows when its drain begins."""

    def __init__(self):
        self.heard = []
        self.drained = threading.Event()

    def send(self, message):
        self.heard.append(type(message))

    def begin_drain(self):
        self.drained.set()


def worker_of(running, supervisor, acquainted):
    """Return the worker that serves as this server does, among others that it is to get to know."""
    worker = Member(supervisor, Begin(version=VERSION, slot=1, generation=1))
    worker._life, worker._servers = supervisor, [running.server]
    worker._mesh = Mesh(acquainted)
    return worker


async def never():
    await asyncio.Event().wait()


async def fails():
    raise RuntimeError("on purpose")


def test_a_worker_that_is_stuck_keeps_no_others_from_handing_their_connections_over(monkeypatch):
    """What it publishes is not waited for as long as the worker before waits for an answer."""
    assert member.ACQUAINTED_S < handing.ANSWER_S / 2
    monkeypatch.setattr(member, "ACQUAINTED_S", 0.01)
    left = threading.Event()
    ours, theirs = socket.socketpair()
    with ServerThread(Counting, codec="lines") as one, ServerThread(Counting, codec="lines") as two:
        with dial(one.address) as peer:
            peer.sendall(b"a\n")
            assert b"1 a\n" == peer.recv(100)
            worker = worker_of(two, Supervisor(), never)
            departure = one.call(lambda: handing.Departure(ours, [one.server], left.set))
            two.call(lambda: worker._heard(TakeOver(), [theirs.detach()]))
            assert left.wait(PATIENCE_S)
            peer.sendall(b"b\n")

            assert (1, b"2 b\n") == (departure.moved, peer.recv(100))


async def at_once():
    return


def test_who_connects_where_the_successor_does_not_listen_is_served_while_connections_move():
    """Nobody else will: the address is closed once they have moved."""
    own, successor = socket.socketpair()
    with ServerThread(Counting, codec="lines") as one, dial(one.address) as peer, successor:
        peer.sendall(b"a\n")
        assert b"1 a\n" == peer.recv(100)
        worker = worker_of(one, Supervisor(), at_once)
        key = one.server.service.name, "tcp://127.0.0.1:0"
        worker._keys = {key[0]: {key}}
        one.call(lambda: worker._heard(HandOver(closes=[key]), [own.detach()]))
        assert successor.recv(1), "the first connection is offered, and not taken"
        with dial(one.address) as other:
            other.sendall(b"b\n")

            assert b"1 b\n" == other.recv(100)


def test_a_worker_that_cannot_take_connections_over_hands_its_own_over_none_the_less(caplog):
    """Whatever has failed: those of the worker before drain there, and its own are not kept for ever."""
    left = threading.Event()
    ours, theirs = socket.socketpair()
    own, successor = socket.socketpair()
    with ServerThread(Counting, codec="lines") as one, ServerThread(Counting, codec="lines") as two, successor:
        with dial(one.address) as peer:
            peer.sendall(b"a\n")
            assert b"1 a\n" == peer.recv(100)
            supervisor = Supervisor()
            worker = worker_of(two, supervisor, fails)
            departure = one.call(lambda: handing.Departure(ours, [one.server], left.set))
            two.call(lambda: worker._heard(TakeOver(), [theirs.detach()]))
            two.call(lambda: worker._heard(HandOver(), [own.detach()]))
            assert left.wait(PATIENCE_S)
            assert supervisor.drained.wait(PATIENCE_S)

            assert (0, [HandedOver]) == (departure.moved, supervisor.heard)
    assert "on purpose" in caplog.text
