"""What a request asks of its codec may end the connection, or give it another codec, at that very moment."""

import asyncio

import pytest

import penstock
from penstock.codecs import Lines, parse_codec
from penstock.testing.peers import read_exactly

ENDS = {
    "abort": lambda conn: conn.abort(),
    "close": lambda conn: conn.close(),
    "set_codec": lambda conn: conn.set_codec(Lines()),
    "drain": lambda conn: conn.server.begin_drain(),
    # What is owed is given up, and then the codec may be one that is compiled.
    "drain and set_codec": lambda conn: (conn.server.begin_drain(), conn.set_codec(Lines())),
    "close and set_codec": lambda conn: (conn.close(), conn.set_codec(Lines())),
}


class Id(int):
    """An id that does something when it is looked up for the ``at``-th time."""

    def __new__(cls, act, at):
        made = super().__new__(cls, 7)
        made.act, made.left = act, at
        return made

    def __hash__(self):
        self.left -= 1
        if self.left == 0:
            self.act()
        return int.__hash__(self)


class Asking(Lines):
    """Its id is the class's: a connection may have a copy of a codec."""

    id = 0

    def request_id(self, message):
        return self.id

    def reply_id(self, message):
        return 7 if message.startswith(b"=") else None


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("end", ENDS)
def test_a_connection_may_end_while_a_request_is_noted(serve, engine, end, at):
    """The request fails, and says why; the connection ends once, and the server stops."""
    outcomes = []

    async def ask(conn):
        def act():
            try:
                ENDS[end](conn)
            except penstock.PenstockError:  # what is owed a reply keeps its codec
                conn.abort()

        Asking.id = Id(act, at)
        try:
            outcomes.append(await conn.request(b"?"))
        except Exception as error:  # any
            outcomes.append(error)
        except asyncio.CancelledError as error:  # with its connection, on whose thread that may come first
            outcomes.append(error)
            raise
        conn.abort()

    @penstock.on_message(codec=Asking())
    def react(conn, message):
        if message == b"go":
            conn.task(ask(conn))

    with serve(react, fails=None) as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            reasons = server.reasons(1)
            server.wait_until(lambda _: outcomes)

    assert [True] == [isinstance(each, (penstock.PenstockError, asyncio.CancelledError)) for each in outcomes]
    assert 1 == len(reasons)


def test_another_codec_ends_what_is_owed_under_the_one_before(serve, engine):
    """No reply is looked for with it: who waits is told so, and the new codec has requests of its own."""
    outcomes = []

    @penstock.on_message(codec="lines")
    def react(conn, message):
        conn.task(ask(conn))

    async def ask(conn):
        try:
            outcomes.append(await conn.request(b"?"))
        except penstock.EndOfStreamError as error:
            outcomes.append(str(error))

    with serve(react) as server:
        with server.dial() as peer:
            peer.sendall(b"ask\n")
            first = read_exactly(peer, 2)
            server.call(lambda: next(iter(server.server.connections)).set_codec(parse_codec("netstring")))
            server.wait_until(lambda _: outcomes)
            server.call(lambda: next(iter(server.server.connections)).task(ask(next(iter(server.server.connections)))))
            second = read_exactly(peer, 4)
            peer.sendall(b"3:yes,")
            server.wait_until(lambda _: len(outcomes) == 2)

    assert (b"?\n", b"1:?,") == (first, second)
    assert ["another codec was set before the reply came", b"yes"] == outcomes
