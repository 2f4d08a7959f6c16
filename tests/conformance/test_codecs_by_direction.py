"""One codec for what comes in and another for what goes out: on every engine, in every form, at both ends."""

import asyncio
import socket

import pytest

import penstock
from penstock.codecs import Duplex, JsonLines, Lines, Netstring
from penstock.testing.peers import read_to_end


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "unix+seqpacket"])
def test_lines_are_answered_with_netstrings(serve, form, tmp_path, bind):
    """However many come at once; a record or datagram needs neither's ends."""
    bind = f"{bind}:{tmp_path}/s" if "unix" in bind else bind
    with serve(lambda _conn, message: message.upper(), codec="lines/netstring", bind=bind) as server:
        with server.dial() as peer:
            if "unix" in bind:
                peer.send(b"one")
                assert b"ONE" == peer.recv(100)
                return
            peer.sendall(b"one\ntwo\r\n\nthr")
            peer.sendall(b"ee\n")
            peer.shutdown(socket.SHUT_WR)

            assert b"3:ONE,3:TWO,0:,5:THREE," == read_to_end(peer)


@pytest.mark.forms(lambda form: form.has_conn)
def test_either_direction_may_change(serve, form):
    """After the message at hand: not a byte that came with it is lost, and what was queued before leaves as it was."""

    def react(conn, message):
        if message == b"change":
            conn.post(b"old")
            conn.set_codec(Duplex(Netstring(), Lines()))
            conn.post(b"new")
            return None
        return message

    with serve(react, codec="lines/netstring") as server, server.dial() as peer:
        peer.sendall(b"a\nchange\n1:b,2:cd,")
        peer.shutdown(socket.SHUT_WR)

        assert b"1:a,3:old,new\nb\ncd\n" == read_to_end(peer)


@pytest.mark.forms(lambda form: form.has_conn)
def test_a_frame_is_of_what_is_sent(serve, form):
    """For `post_frame`, and so for groups: here an object, where a line came in."""

    def react(conn, message):
        conn.post_frame(conn.frame({"heard": message.decode()}))

    with serve(react, codec=Duplex(Lines(), JsonLines())) as server, server.dial() as peer:
        peer.sendall(b"a\nb\n")
        peer.shutdown(socket.SHUT_WR)

        assert b'{"heard":"a"}\n{"heard":"b"}\n' == read_to_end(peer)


def test_what_is_too_long_is_what_comes_in(serve):
    """The limit of what goes out is another one."""
    service = penstock.on_message(codec="lines:max=4/netstring:max=8")(lambda message: message * 2)
    with serve(service) as server, server.dial() as peer:
        peer.sendall(b"four\nseven77\n")
        peer.shutdown(socket.SHUT_WR)

        assert b"8:fourfour," == read_to_end(peer)
        peer.close()
        assert ["frame_too_large"] == server.reasons(1)


@pytest.mark.uncipherable("its client asks in clear")
@pytest.mark.engines("pure", "native", "uvloop")
def test_a_client_has_them_the_other_way_round(serve, engine):
    """On each loop that a client may run on."""
    service = penstock.on_message(codec="lines/netstring")(bytes.upper)

    async def ask(address):
        async with await penstock.connect(address, codec="netstring/lines") as conn:
            return await conn.request(b"hello")

    with serve(service) as server, asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        assert b"HELLO" == runner.run(ask(server.address))
