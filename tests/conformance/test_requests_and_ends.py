"""What a request asks of its codec may end the connection, or give it another codec, at that very moment."""

import pytest

import penstock
from penstock.codecs import Lines

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


# Where each connection has a thread, a request is awaited beside it, and another codec comes when that thread looks.
@pytest.mark.engines("pure", "uvloop", "native", "attached")
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("end", ENDS)
def test_a_connection_may_end_while_a_request_is_noted(serve, engine, end, at):
    """The request fails or has its reply; the connection ends once, and the server stops."""
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
        except (penstock.PenstockError, TimeoutError) as error:
            outcomes.append(error)
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

    assert [True] == [isinstance(each, penstock.PenstockError) for each in outcomes]
    assert 1 == len(reasons)
