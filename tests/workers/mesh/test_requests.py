"""Requests to connections of other workers: several of them in one process, each with its mesh and its cell."""

import asyncio
import contextlib
import dataclasses
import itertools
import os
import socket

import pytest

from penstock import errors
from penstock.codecs.lines import Lines
from penstock.errors import LocalProtocolError, Phase, RequestLostError
from penstock.groups import Registry, elsewhere
from penstock.reasons import CloseReason
from penstock.workers.cells import AVAILABLE, Cells, WorkerMemory
from penstock.workers.mesh.keys import SharedKeys
from penstock.workers.mesh.mesh import Mesh

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no memory without a name here")


class Device:
    """As much of a connection, and of its server, as a registry and requests need."""

    ids = itertools.count(1)
    is_datagram = False

    def __init__(self, reply=b"done"):
        self.id = next(self.ids)
        self.server = self
        self.loop = asyncio.get_running_loop()
        self.reply = reply
        self.heard = asyncio.Queue()

    def when_closed(self, conn, closed, resumed=None):
        return True

    def forget_closed(self, conn, closed, resumed=None):
        pass

    async def request(self, message, timeout_s=None):
        self.heard.put_nowait(message)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    def post(self, message):
        self.heard.put_nowait(("post", message))

    def close(self):
        self.heard.put_nowait("close")


class Worker:
    """One of them: what it does, it does as the process that it stands for."""

    def __init__(self, number, cells):
        self.number = number
        cell = cells.give(number)
        descriptors = [os.dup(each) for each in cells.descriptors]
        self.memory = WorkerMemory(descriptors, cell, asyncio.get_running_loop())
        self.mesh = Mesh(number, number, {"service": Lines()}, SharedKeys(self.memory, cell))
        self.registry = Registry("devices", scope="workers")
        self._descriptors = descriptors

    @contextlib.contextmanager
    def current(self):
        elsewhere.set_current(self.mesh)
        try:
            yield self.registry
        finally:
            elsewhere.set_current(None)

    def hold(self, key, device, order=None):
        with self.current() as registry:
            return registry.take(key, device, "replace", order)

    def release(self, hold):
        with self.current():
            hold.release()

    def find(self, key):
        with self.current() as registry:
            return registry.get(key)

    def close(self):
        self.mesh.close()

    def free(self):
        self.memory.close()
        for descriptor in self._descriptors:
            os.close(descriptor)


@pytest.fixture
async def workers():
    """Three workers who know each other."""
    cells = Cells(keys=256)
    found = [Worker(number, cells) for number in (1, 2, 3)]
    for one, other in itertools.combinations(found, 2):
        ours, theirs = socket.socketpair()
        one.mesh.add(ours, other.number, other.number)
        other.mesh.add(theirs, one.number, one.number)
    for each in found:
        await each.mesh.acquainted()
    yield found
    for each in found:
        each.close()
        each.free()
    cells.close()


class Plain:
    """No data that can be told."""


@dataclasses.dataclass
class Unknown:
    """Of a module that the asker does not have."""

    number: int


Unknown.__module__ = "of_another_program"


@pytest.mark.parametrize("reply", [Plain(), 2**65, Unknown(7)])
async def test_a_reply_that_cannot_be_told_is_none_that_was_refused(workers, reply):
    """The request was done: who is told that nothing was sent would have it done twice."""
    asker, server, _ = workers
    device = Device(reply)
    server.hold(b"k", device)
    with pytest.raises(RequestLostError) as caught:
        await asker.find(b"k").request(b"open")

    assert (CloseReason.CODEC_ERROR, LocalProtocolError) == (caught.value.reason, type(caught.value.__cause__))
    assert (b"open", True) == (device.heard.get_nowait(), device.heard.empty())


class Own(errors.LocalProtocolError):
    """Of the program: the other worker knows the class that it is of."""


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (errors.LocalProtocolError("no"), errors.LocalProtocolError("no")),
        (Own("no"), errors.LocalProtocolError("no")),
        (errors.WrongTypeError("lines", "bytes", "str"), TypeError("a message of the codec lines is bytes, not str")),
        (errors.WrongReplyError("f", "x.py:1", "no"), TypeError("f (x.py:1) returned no")),
        (TypeError("no"), TypeError("no")),
        (TimeoutError("late"), TimeoutError("late")),
        (errors.TimedOutError(Phase.READ, 2), TimeoutError("no message within 2 s")),
        (errors.ClosedError("over"), errors.ClosedError("over")),
        (errors.EndOfStreamError("eof"), errors.EndOfStreamError("eof")),
        (errors.ConnectionEndedError("end"), errors.ConnectionEndedError("end")),
        (errors.QueueFullError("full"), errors.QueueFullError("full")),
        (errors.BrokenError(CloseReason.RESET), errors.BrokenError(CloseReason.RESET)),
        (errors.SlowPeerError(CloseReason.WRITE_TIMEOUT), errors.SlowPeerError(CloseReason.WRITE_TIMEOUT)),
        (errors.RequestLostError(CloseReason.RESET), errors.RequestLostError(CloseReason.RESET)),
        # Whether these were raised before anything was sent is not known.
        (errors.CodecError("x", "decode", "failed"), errors.RequestLostError(CloseReason.CODEC_ERROR)),
        (errors.BadFrameError("bad"), errors.RequestLostError(CloseReason.BAD_FRAME)),
        (errors.LimitError("no"), errors.RequestLostError(CloseReason.HANDLER_ERROR)),
        (KeyError("mine"), errors.RequestLostError(CloseReason.HANDLER_ERROR)),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_raised_there_is_raised_here(workers, raised, expected):
    """By the nearest class that both know; and none says that nothing was sent where something may have been."""
    asker, server, _ = workers
    server.hold(b"k", Device(raised))
    with pytest.raises(type(expected)) as caught:
        await asker.find(b"k").request(b"open")

    assert (type(expected), str(expected)) == (type(caught.value), str(caught.value))


async def test_requests_and_posts_are_done_in_the_order_in_which_they_were_asked(workers):
    """A post does not overtake the request before it."""
    asker, server, _ = workers
    device = Device()
    server.hold(b"k", device)
    conn = asker.find(b"k")
    request = asyncio.create_task(conn.request(b"first"))
    await asyncio.sleep(0)
    conn.post(b"second")
    assert b"done" == await request

    assert [b"first", ("post", b"second")] == [await device.heard.get() for _ in range(2)]


async def test_what_has_no_answer_follows_a_key_that_has_moved(workers):
    """Who has found it before posts to the worker where it was, which passes it on."""
    asker, before, after = workers
    old, new = Device(), Device()
    hold = before.hold(b"k", old)
    conn = asker.find(b"k")
    after.hold(b"k", new, order=hold.order)
    before.release(hold)
    conn.post(b"news")
    conn.close()

    assert [("post", b"news"), "close"] == [await new.heard.get() for _ in range(2)]
    assert b"done" == await conn.request(b"open")
    assert (2, 3, True) == (conn.worker, asker.find(b"k").worker, old.heard.empty())


async def test_what_has_no_answer_is_passed_on_once(workers):
    """Two workers of which each believes that the other has the key do not pass it to and fro."""
    asker, before, after = workers
    hold = before.hold(b"k", Device())
    conn = asker.find(b"k")
    gone = after.hold(b"k", Device(), order=hold.order)
    before.release(hold)
    after.registry._holds.clear()  # it is in the cell still
    conn.post(b"lost")
    with pytest.raises(errors.ClosedError):
        await conn.request(b"open")
    after.mesh.unclaim(after.registry, b"k", None)
    after.hold(b"k", found := Device(), order=gone.order)
    conn.post(b"found")

    assert ("post", b"found") == await found.heard.get()


@pytest.mark.parametrize("where", ["another worker", "the asker's own"])
async def test_a_connection_that_is_kept_outlives_the_worker_that_had_it(workers, where):
    """It stands for whatever connection has the key."""
    asker, before, after = workers
    hold = before.hold(b"k", Device())
    conn = asker.find(b"k")
    new = Device()
    (after if where == "another worker" else asker).hold(b"k", new, order=hold.order)
    before.release(hold)
    before.close()
    asker.mesh.catch_up()
    conn.post(b"news")
    assert b"done" == await conn.request(b"open")
    conn.close()

    assert [("post", b"news"), b"open", "close"] == [await new.heard.get() for _ in range(3)]


async def test_a_connection_whose_key_nobody_has_any_more_is_closed(workers):
    """Its worker ended and nothing took its place; that is said before anything is sent."""
    asker, before, _ = workers
    hold = before.hold(b"k", Device())
    conn = asker.find(b"k")
    before.release(hold)
    before.close()
    asker.mesh.catch_up()
    conn.close()
    with pytest.raises(errors.ClosedError, match="no connection has the key b'k' any more"):
        conn.post(b"x")
    with pytest.raises(errors.ClosedError, match="no connection has the key b'k' any more"):
        await conn.request(b"x")


async def test_a_connection_on_its_way_is_one_for_third_workers(workers):
    """It is held in two of them; what is sent to all that have the key is sent to it once."""
    asker, before, after = workers
    hold = before.hold(b"k", Device())
    after.hold(b"k", Device(), order=hold.order)
    with asker.current() as registry:
        found = registry.all(b"k")

    assert [3] == [conn.worker for conn in found]
    with before.current() as registry:
        assert [hold.conn] == registry.all(b"k")


@pytest.mark.parametrize("keys", [(1, 1.0, True), ("red", "red"), ((1, "a"), (1.0, "a"))])
async def test_equal_keys_are_one_in_every_worker(workers, keys):
    """As in one process: the later hold replaces the earlier one."""
    asker, one, other = workers
    first, second = Device(), Device()
    one.hold(keys[0], first)
    other.hold(keys[-1], second)

    assert "close" == await first.heard.get()
    assert [3] * len(keys) == [asker.find(key).worker for key in keys]
