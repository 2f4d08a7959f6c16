"""Datagrams that lie with the kernel together are handled one by one all the same, whatever one call reads or sends."""

import contextlib
import socket

import pytest

import penstock
from penstock.testing.peers import PATIENCE_S

COUNT = 100  # more than one turn reads


@pytest.fixture(params=["udp://127.0.0.1:0", "udp://[::1]:0", "unix+dgram://{}/s"], ids=["udp4", "udp6", "unix"])
def bind(request, tmp_path):
    return request.param.format(tmp_path)


@contextlib.contextmanager
def held(server):
    """The server reads nothing meanwhile, so that what is sent to it lies there together."""
    server.call(server.server.suspend)
    yield
    server.call(server.server.resume)


def datagrams(server, count):
    server.wait_until(lambda each: each.stats.datagrams >= count)


@pytest.mark.forms(lambda form: not form.is_conversation and form.model == "loop")
def test_each_of_a_batch_is_answered_once_and_in_order(serve, form, bind):
    """Two peers, alternately; each gets its own answers."""
    with serve(lambda _conn, message: b"<" + message + b">", bind=bind) as server:
        with server.dial() as one, server.dial() as two:
            for begin in range(0, COUNT, 10):  # a Unix peer's queue holds as many
                with held(server):
                    for number in range(begin, begin + 5):
                        one.send(b"%d" % number)
                        two.send(b"%d!" % number)
                for number in range(begin, begin + 5):
                    assert b"<%d>" % number == one.recv(100)
                    assert b"<%d!>" % number == two.recv(100)
        datagrams(server, COUNT)
        assert COUNT == server.server.stats.datagrams


@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "def-callbacks"))
def test_what_is_posted_keeps_its_place_among_the_replies(serve, form, bind):
    """Replies of one batch leave together, and what a handler posts does not overtake them."""

    def react(conn, message):
        if message == b"2":
            conn.post(b"posted")
        return message

    with serve(react, bind=bind) as server, server.dial() as peer:
        with held(server):
            for number in range(4):
                peer.send(b"%d" % number)

        assert [b"0", b"1", b"posted", b"2", b"3"] == [peer.recv(100) for _ in range(5)]


@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "def-callbacks", "async-message-conn"))
def test_one_failure_in_a_batch_is_its_own(serve, form, bind):
    """The others are answered; what is no message is dropped and counted."""

    def react(_conn, message):
        return [1, 2, 3][message]

    with serve(react, codec="json-lines", bind=bind, fails=1) as server, server.dial() as peer:
        with held(server):
            for payload in (b"0", b"3", b"{]", b"2"):
                peer.send(payload)

        assert [b"1", b"3"] == [peer.recv(100).rstrip() for _ in range(2)]
        datagrams(server, 3)
        assert {"bad_payload": 1} == dict(server.server.stats.datagrams_dropped)


@pytest.mark.engines("pure", "uvloop", "native", "attached")
@pytest.mark.parametrize("ending", ["begin_stop", "begin_drain", "suspend"])
def test_a_server_may_be_ended_in_the_middle_of_a_batch(serve, engine, bind, ending):
    """What came before is answered, what comes after is not handled twice, and nothing stays open."""
    handled = []

    @penstock.on_message
    def react(message):
        handled.append(message)
        if message == b"2":
            getattr(server.server, ending)()
        return message

    with serve(react, bind=bind) as server, server.dial() as peer:
        with held(server):
            for number in range(8):
                peer.send(b"%d" % number)
        server.wait_until(lambda _server: len(handled) >= 3)
        if ending == "suspend":
            server.call(server.server.resume)
            assert [b"%d" % number for number in range(8)] == [peer.recv(100) for _ in range(8)]
        else:
            server.wait(server.server.wait_stopped())

    assert [b"%d" % number for number in range(len(handled))] == handled


@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message"))
@pytest.mark.engines("pure", "uvloop", "native", "attached")
def test_a_unix_peer_without_room_is_no_other_peers_loss(serve, form, tmp_path):
    """In one batch with it; it gets its own when it has read."""
    with (
        serve(lambda _conn, message: message, bind=f"unix+dgram://{tmp_path}/s") as server,
        server.dial() as other,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf,
    ):
        deaf.bind("")
        deaf.settimeout(PATIENCE_S)
        sent = []
        for begin in range(0, 25, 5):
            with held(server):
                for number in range(begin, begin + 5):
                    deaf.sendto(b"%d" % number, f"{tmp_path}/s")
                    sent.append(b"%d" % number)
                other.send(b"mine")
            assert b"mine" == other.recv(100)

        assert sent == [deaf.recv(100) for _ in sent]


@pytest.mark.engines("pure", "uvloop", "blocking", "native", "attached")
def test_a_sender_without_a_name_is_heard_and_cannot_be_answered(serve, engine, tmp_path):
    """As unix(7) has it for a socket that was not bound."""
    heard = []

    @penstock.on_message
    def react(message):
        heard.append(message)
        return message

    with serve(react, bind=f"unix+dgram://{tmp_path}/s") as server, server.dial() as other:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.sendto(b"who am I?", f"{tmp_path}/s")
        other.send(b"next")

        assert b"next" == other.recv(100)
        assert [b"who am I?", b"next"] == heard
        assert {"unnamed_peer": 1} == dict(server.server.stats.datagrams_dropped)
