"""Twisted's reactor lives as long as the servers that are on it, again and again, and on one loop at a time."""

import asyncio

import pytest

import penstock
from penstock.adapters import install_reactor, service_of
from penstock.errors import ApplicationError, StoppedError
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_to_end

from ..descriptors import none_left_open

pytest.importorskip("twisted")
reactor = install_reactor()
protocol = pytest.importorskip("twisted.internet.protocol")
defer = pytest.importorskip("twisted.internet.defer")

pytestmark = pytest.mark.engines(*LOOPS)


class Later(protocol.Protocol):
    """Answers a little later."""

    def dataReceived(self, data):
        reactor.callLater(0.001, self.answer)

    def answer(self):
        self.transport.write(b"later")
        self.transport.loseConnection()


def ask(server):
    with server.dial() as peer:
        peer.sendall(b"x")
        return read_to_end(peer)


def test_it_lives_anew_with_each_server(serve, engine):
    """What waits for its start is called at each, and what waits for its end, in order; a Deferred is waited for."""
    for _ in range(3):
        course = []

        def put_away(course=course):
            done = defer.Deferred()
            reactor.callLater(0.001, lambda: (course.append("put away"), done.callback(None)))
            return done

        reactor.callWhenRunning(course.append, "started")
        reactor.addSystemEventTrigger("before", "shutdown", put_away)
        reactor.addSystemEventTrigger("during", "shutdown", course.append, "ended")
        assert ([], False) == (course, reactor.running)
        with serve(Later) as server:
            assert [b"later", b"later"] == [ask(server), ask(server)]
            assert (["started"], True) == (course, reactor.running)

        assert (["started", "put away", "ended"], False) == (course, reactor.running)


def test_an_end_that_never_comes_is_given_up(serve, engine, monkeypatch):
    """And the reactor lives on: a Deferred that comes then ends nothing of the next life."""
    monkeypatch.setattr("penstock.adapters.twisted_reactor.LONGEST_END_S", 0.01)
    never = defer.Deferred()
    course = []
    with serve(Later) as server:
        assert b"later" == ask(server)
        reactor.addSystemEventTrigger("before", "shutdown", lambda: never)
        reactor.addSystemEventTrigger("during", "shutdown", course.append, "ended")
    assert ["ended"] == course
    with serve(Later) as server:
        assert b"later" == ask(server)
        server.call(lambda: never.callback(None))

        assert (b"later", True) == (ask(server), reactor.running)


def test_a_factory_that_cannot_begin_keeps_its_server_from_starting(serve, engine):
    """By name and reason; the reactor is free for the next server."""

    class Opens(protocol.Factory):
        protocol = Later
        begun = 0

        def startFactory(self):
            type(self).begun += 1
            if self.begun == 1:
                raise OSError("no database")

    with pytest.raises(ApplicationError, match=r"Opens.startFactory raised OSError\('no database'\)"), serve(Opens):
        pass
    assert not reactor.running

    with serve(Opens) as server:
        assert (b"later", True) == (ask(server), reactor.running)


def test_a_factory_that_cannot_begin_leaves_no_descriptor(serve, engine):
    """However often it is tried, in a loop that goes on."""

    class Fails(protocol.Factory):
        protocol = Later

        def startFactory(self):
            raise OSError("no database")

    async def tried():
        for _ in range(4):
            server = penstock.serve(service_of(Fails), bind="tcp://127.0.0.1:0", engine=engine.name)
            with pytest.raises(ApplicationError):
                await server.start()
            await server.stop()

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        runner.run(tried())  # what the first server of a loop opens, the loop keeps
        with none_left_open():
            runner.run(tried())


def test_a_factory_that_stops_the_reactor_as_it_begins_keeps_its_server_from_starting(serve, engine):
    """The reactor is free for the next server."""

    class Stops(protocol.Factory):
        protocol = Later

        def startFactory(self):
            reactor.stop()

    with pytest.raises(StoppedError), serve(Stops):
        pass
    assert not reactor.running


def test_a_factory_that_cannot_end_keeps_the_reactor_from_nothing(serve, engine):
    """It is told of, and the next server has a reactor."""

    class Sticks(protocol.Factory):
        protocol = Later

        def stopFactory(self):
            raise OSError("disk full")

    for _ in range(2):
        with serve(Sticks) as server:
            assert b"later" == ask(server)
        assert not reactor.running


def test_a_second_loop_is_refused_while_the_first_one_is_served(serve, engine):
    """By name; the first server goes on, and the second may have the reactor once that has stopped."""
    with serve(Later) as first:
        assert b"later" == ask(first)
        with pytest.raises(ApplicationError, match="Twisted's reactor runs on the loop of Later"):
            with serve(protocol.Factory.forProtocol(Later)):
                pass
        assert b"later" == ask(first)
    with serve(Later) as third:
        assert b"later" == ask(third)
