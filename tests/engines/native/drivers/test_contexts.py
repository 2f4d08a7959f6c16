"""A connection has a context of its own when its handler has set something: until then it costs none."""

import contextvars
import gc

import pytest

import penstock
from penstock.core.service import callbacks
from penstock.engines.native.engine import new_event_loop
from penstock.testing.peers import read_exactly
from penstock.testing.served import served

WORD = contextvars.ContextVar("word", default="nothing")
TOKENS = {}
CONNECTIONS = 20


def do(conn, message):
    """Set the variable, put it back or leave it alone; answer what it was before."""
    before = WORD.get()
    if message == b"reset":
        WORD.reset(TOKENS.pop(conn))
    elif message != b"look":
        TOKENS[conn] = WORD.set(message.decode())
    return before.encode()


class Called(penstock.Handler):
    def on_message(self, conn, message):
        return do(conn, message)


SERVICES = {
    "function": penstock.on_message(codec="lines")(do),
    "callbacks": callbacks(Called, name="do", codec="lines"),
}


def contexts():
    """How many contexts there are."""
    gc.collect()
    return sum(type(it) is contextvars.Context for it in gc.get_objects())


def count_of(service, *lines):
    """Let some connections send lines; return how many contexts they have cost while they are open."""
    TOKENS.clear()
    with served(service, loop_factory=new_event_loop, engine="native") as server:
        with server.dial() as first:  # what the first one makes stays, for all
            first.sendall(b"look\n")
            assert b"nothing\n" == read_exactly(first, 8)
            peers = [server.dial() for _ in range(CONNECTIONS)]
            server.wait_connections(CONNECTIONS + 1)
            first.sendall(b"look\n")  # once it is answered, what waited on the loop is over
            assert b"nothing\n" == read_exactly(first, 8)
            before = contexts()
            for peer in peers:
                for line, answer in lines:
                    peer.sendall(line + b"\n")
                    assert answer + b"\n" == read_exactly(peer, len(answer) + 1)
            cost = contexts() - before
            for peer in peers:
                peer.close()
        TOKENS.clear()
    return cost


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_handler_that_sets_nothing_keeps_no_context(service):
    assert 0 == count_of(service, (b"look", b"nothing"), (b"look", b"nothing"))


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_what_is_set_stays_with_its_connection(service):
    """Also when it was put back, for the token is good only there. The first one keeps the context that was for all."""
    talk = ((b"a", b"nothing"), (b"look", b"a"), (b"reset", b"a"), (b"look", b"nothing"))

    assert CONNECTIONS - 1 == count_of(service, *talk)
