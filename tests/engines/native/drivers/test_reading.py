"""Readers and writers of asyncio in compiled code: what is given to a connection as one is one."""

import socket
from types import SimpleNamespace

import pytest

import penstock
from penstock.engines.native.engine import new_event_loop
from penstock.testing.peers import read_to_end
from penstock.testing.served import served

READER, WRITER = 0, 1
NO_PAIRS = [(None, None), ("no", "no"), (READER, None), (READER, "no"), (None, WRITER), (WRITER, READER)]


@pytest.mark.parametrize("pair", NO_PAIRS, ids=str)
def test_what_is_no_reader_or_no_writer_is_refused(pair):
    """None is neither: it has none of their fields."""
    errors = []

    @penstock.on_connection(codec="raw")
    async def handle(conn):
        kinds = [type("Made", (kind,), {}) for kind in conn.stream_types]
        made = [kinds[each]() if each in (READER, WRITER) else each for each in pair]
        try:
            conn.feed_streams(*made, 100, None, None, None)
        except TypeError as error:
            errors.append(error)

    with served(handle, engine="native", loop_factory=new_event_loop) as server, server.dial() as peer:
        peer.shutdown(socket.SHUT_WR)
        ended = read_to_end(peer)

    assert b"" == ended
    assert 1 == len(errors)


@pytest.mark.parametrize(("conns", "at"), [(None, 0), ((), -1), ((), 0), ((None,), 0)], ids=str)
def test_a_publication_that_says_of_more_members_than_it_has_is_not_read_past_its_end(conns, at):
    """Whatever it is called with: an end past the last one is the last one, and None is no publication."""
    outcomes = []
    publication = SimpleNamespace(members=conns, conns=conns, exclude=frozenset(), at=at)

    @penstock.on_connection(codec="raw")
    async def handle(conn):
        try:
            conn.post_frame_to_each(publication, 1000, b"x", conn.codec, SimpleNamespace(delivered=0), True)
        except (IndexError, TypeError) as error:
            outcomes.append(type(error))
        else:
            outcomes.append(publication.at)

    with served(handle, engine="native", loop_factory=new_event_loop) as server, server.dial() as peer:
        peer.shutdown(socket.SHUT_WR)
        ended = read_to_end(peer)

    assert b"" == ended
    assert [{None: TypeError, (): IndexError if at < 0 else 0, (None,): 0}[conns]] == outcomes
