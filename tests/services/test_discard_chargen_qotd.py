"""Discard, chargen and qotd (RFC 863, 864, 865)."""

import socket
import threading

import pytest

from penstock.config import Timeouts
from penstock.services.chargen import PAGE
from penstock.services.qotd import QUOTES, quotation
from penstock.testing.peers import read_exactly


def test_discard_answers_nothing(run, connection, model):
    """Megabytes of it."""
    with run("discard", connection, model=model) as server:
        with server.peer() as peer:
            for _ in range(50):
                peer.say(b"x" * 60_000)
            assert b"" == peer.finish()
        server.wait_closed(1)

        assert {"peer_closed": 1} == dict(server.server.stats.closed)


def test_discard_takes_datagrams(run, datagram, model):
    """Each is counted, none is answered."""
    with run("discard", datagram, model=model) as server, server.peer() as peer:
        for count in range(1, 6):
            peer.say(b"x" * count)
            server.wait_until(lambda each, count=count: each.stats.datagrams == count)
        peer.sock.setblocking(False)

        with pytest.raises(BlockingIOError):
            peer.sock.recv(1)


def test_the_page_is_the_rfcs_pattern():
    """Lines of 72 characters of the 95 that print, each beginning one further, ended by CR LF."""
    lines = PAGE.decode("ascii").split("\r\n")
    ring = "".join(map(chr, range(32, 127)))

    assert ring[:72] == lines[0]
    assert ring[1:73] == lines[1]
    assert ring[94] + ring[:71] == lines[94]
    assert "" == lines[95]
    assert 95 * 74 == len(PAGE)


def test_chargen_sends_until_the_peer_leaves(run, stream, model):
    """Page after page without a seam; then the peer closes, and the server is rid of it."""
    with run("chargen", stream, model=model) as server:
        with server.peer() as peer:
            assert PAGE * 100 == read_exactly(peer.sock, len(PAGE) * 100)
        server.wait_closed(1)

        assert 0 == server.server.stats.handler_errors


def test_chargen_ends_with_the_peers_side(run, stream, model):
    """A peer that ends its side gets whole pages and the end."""
    with run("chargen", stream, model=model) as server, server.peer() as peer:
        data = peer.finish()

        assert PAGE * (len(data) // len(PAGE)) == data
        assert data


def test_chargen_throws_input_away(run, stream, model):
    """A peer that says more than any buffer holds, and reads at the same time, is heard out."""
    with run("chargen", stream, model=model) as server:
        with server.peer() as peer:
            talker = threading.Thread(target=peer.say, args=[b"x" * 10_000] * 400)
            talker.start()
            while talker.is_alive():
                assert PAGE == read_exactly(peer.sock, len(PAGE))
            talker.join()
        server.wait_closed(1)

        assert 0 == server.server.stats.handler_errors


def test_chargen_waits_for_a_peer_that_does_not_read(run, stream, model):
    """It is held at what the buffers take, and others are served meanwhile."""
    if model == "one-at-a-time":
        pytest.skip("the others wait by definition")
    with run("chargen", stream, model=model, server_options={"timeouts": Timeouts(drain_s=0.5)}) as server:
        with server.peer(), server.peer() as other:
            assert PAGE * 20 == read_exactly(other.sock, len(PAGE) * 20)


def test_chargen_datagrams(run, datagram, model):
    """Any datagram is answered with 0 to 512 characters, as many as chance has it."""
    sizes = iter([0, 1, 300, 512])
    with run("chargen", datagram, model="loop", characters=lambda: next(sizes)) as server, server.peer() as peer:
        for size in (0, 1, 300, 512):
            peer.sock.send(b"x" * 400)
            assert PAGE[:size] == peer.hear()


def test_chargen_of_chance_stays_within_its_bounds(run):
    """What chance has is from 0 to 512."""
    with run("chargen", "udp4") as server, server.peer() as peer:
        sizes = []
        for _ in range(200):
            peer.sock.send(b"x" * 400)
            sizes.append(len(peer.hear()))

    assert 0 <= min(sizes) < max(sizes) <= 512


def test_quotations_are_short_and_plain():
    """Fewer than 512 ASCII characters that print, and CR LF."""
    for day in range(len(QUOTES)):
        text = quotation(day)
        assert len(text) < 512
        assert text.endswith(b"\r\n")
        assert text.replace(b"\r\n", b"").decode("ascii").isprintable()


def test_qotd_connections(run, connection, model):
    """One quotation on connect, then the end."""
    with run("qotd", connection, model=model, clock=lambda: 3 * 86400.0) as server, server.peer() as peer:
        assert quotation(3) == peer.hear_to_end()


def test_qotd_datagrams(run, datagram, model):
    """Any datagram is answered, the empty one too; the quotation changes with the day."""
    days = iter([3, 4])
    with run("qotd", datagram, model=model, clock=lambda: next(days) * 86400.0) as server, server.peer() as peer:
        peer.sock.send(b"")
        assert quotation(3) == peer.hear()
        peer.sock.send(b"again")
        assert quotation(4) == peer.hear()


def test_datagrams_of_nobody(run):
    """A Unix datagram from a socket without a name cannot be answered, and nothing comes of it."""
    with run("qotd", "unix-dgram") as server, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(server.address.removeprefix("unix+dgram://"))
        sock.send(b"who am I?")
        server.wait_until(lambda each: each.stats.datagrams_dropped.total())

        assert 0 == server.server.stats.handler_errors
