"""Law 8: what a handler may do to its own connection, to another one and to the server in the middle of a batch."""

import socket

import pytest

import penstock
from penstock.config import Timeouts
from penstock.testing.peers import read_to_end

BATCH = b"".join(b"%d\n" % number for number in range(10))
ANSWERS_UP_TO_5 = b"".join(b"%d\n" % number for number in range(6))


def acting(act, handled):
    """Echo, and act on message 5."""

    def react(conn, message):
        handled.append(message)
        if message == b"5":
            act(conn)
        return message

    return react


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_closing_its_own_connection(serve, form):
    """The messages after it in the batch are not handled; its own reply is sent."""
    handled = []
    with serve(acting(lambda conn: conn.close(), handled)) as server:
        with server.dial() as peer:
            peer.sendall(BATCH)

            assert ANSWERS_UP_TO_5 == read_to_end(peer)
        assert ["done"] == server.reasons(1)
    assert [b"%d" % number for number in range(6)] == handled


@pytest.mark.forms(lambda form: form.has_conn)
def test_aborting_its_own_connection(serve, form):
    """Not another message is handled."""
    handled = []
    with serve(acting(lambda conn: conn.abort(), handled)) as server:
        with server.dial() as peer:
            peer.sendall(BATCH)
            with pytest.raises(ConnectionResetError):
                read_to_end(peer)
        assert ["aborted"] == server.reasons(1)
    assert [b"%d" % number for number in range(6)] == handled


@pytest.mark.parametrize(("how", "reason"), [("close", "done"), ("abort", "aborted")])
@pytest.mark.forms(lambda form: form.has_conn)
def test_ending_another_connection(serve, form, how, reason):
    """The other one is ended, whatever it had on its way; the one that did it goes on with its batch."""
    handled = []
    others = []

    def react(conn, message):
        if message == b"other":
            others.append(conn)
            return message
        return acting(lambda _conn: getattr(others[0], how)(), handled)(conn, message)

    with serve(react) as server:
        with server.dial() as other, server.dial() as peer:
            other.sendall(b"other\n")
            assert b"other\n" == other.recv(100)
            peer.sendall(BATCH)
            peer.shutdown(socket.SHUT_WR)

            assert BATCH == read_to_end(peer)
            if how == "close":
                assert b"" == read_to_end(other)
            else:
                with pytest.raises(ConnectionResetError):
                    read_to_end(other)
        assert {reason, "peer_closed"} == set(server.reasons(2))
    assert [b"%d" % number for number in range(10)] == handled


@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "def-callbacks"))
@pytest.mark.engines("pure", "uvloop", "native")
def test_ending_one_another_in_the_same_turn(serve, form):
    """Connections whose batches wait in the same turn of the loop end each other: nobody is handled after its end."""
    ended = []
    handled = []

    def react(conn, message):
        if message == b"here":
            return message
        handled.append(conn.id)
        for other in list(server.server.connections):
            if other is not conn:
                other.abort()
                ended.append(other.id)
        return None

    with serve(react) as server:
        peers = [server.dial() for _ in range(5)]
        for peer in peers:
            peer.sendall(b"here\n")
            assert b"here\n" == peer.recv(100)
        server.call(lambda: [peer.sendall(b"a\nb\n") for peer in peers])  # while nobody reads
        server.wait_until(lambda _: handled)
        for peer in peers:
            peer.close()
        server.wait_closed(5)

    assert 1 == len(set(handled))
    assert not set(handled) & set(ended)


@pytest.mark.forms(lambda form: not form.in_threads)
@pytest.mark.engines("pure", "uvloop", "native")
def test_draining_the_server(serve, form):
    """What came whole, in this batch and on other connections, is answered; then everything closes."""
    handled = []
    with serve(acting(lambda _conn: server.server.begin_drain(), handled)) as server:
        with server.dial() as other, server.dial() as peer:
            other.sendall(b"hello\n")
            assert b"hello\n" == other.recv(100)
            handled.clear()
            peer.sendall(BATCH + b"part of")

            assert BATCH == read_to_end(peer)
            assert b"" == read_to_end(other)
        assert ["drained"] * 2 == server.reasons(2)
        server.wait(server.server.wait_stopped())
    assert [b"%d" % number for number in range(10)] == handled


@pytest.mark.forms(lambda form: not form.in_threads)
@pytest.mark.engines("pure", "uvloop", "native")
def test_stopping_the_server(serve, form):
    """Nothing is handled after it, on any connection."""
    handled = []
    with serve(acting(lambda _conn: server.server.begin_stop(), handled)) as server:
        with server.dial() as other, server.dial() as peer:
            other.sendall(b"hello\n")
            assert b"hello\n" == other.recv(100)
            handled.clear()
            peer.sendall(BATCH)
            for sock in (peer, other):
                with pytest.raises(ConnectionResetError):
                    read_to_end(sock)
        assert ["stopped"] * 2 == server.reasons(2)
        server.wait(server.server.wait_stopped())
    assert [b"%d" % number for number in range(6)] == handled


@pytest.mark.engines("pure", "uvloop", "native")
@pytest.mark.parametrize("how", ["close", "abort"])
def test_closing_a_connection_that_has_no_transport_yet(serve, engine, how):
    """An observer that ends each connection as it is accepted, before any handler heard of it."""
    handled = []

    @penstock.on_message
    def handle(conn, message):
        handled.append(message)

    class Bouncer:
        def observe(self, event):
            if event.name == "accepted":
                if how == "close":
                    event.connection.post(b"full")
                getattr(event.connection, how)()

    with serve(handle, timeouts=Timeouts()) as server:
        server.call(lambda: server.server._observers.append(Bouncer()))
        if how == "close":
            with server.dial() as peer:
                peer.sendall(b"hello\n")
                assert b"full\n" == read_to_end(peer)
        else:  # the reset may come before connect(2) has returned
            with pytest.raises(ConnectionResetError), server.dial() as peer:
                read_to_end(peer)
        assert [{"close": "done", "abort": "aborted"}[how]] == server.reasons(1)
    assert [] == handled
