"""What the classic programs get wrong in their naive form, one test for each: it would fail on the naive program.

The one that is missing, an address that takes every connection, is the gate's.
"""

import threading

import pytest

import penstock
from penstock import services
from penstock.config import Timeouts
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_exactly, read_to_end, reset


@penstock.on_message(codec="lines")
def shout(message):
    """Answer in capitals."""
    return message.decode().upper().encode()


def test_messages_that_tcp_glued_together_are_told_apart(serve, engine):
    """Naive: one recv is one message. Three sent at once come out of one recv; they are three all the same."""
    with serve(shout) as server, server.dial() as peer:
        peer.sendall(b"one\ntwo\nthree\n")

        assert b"ONE\nTWO\nTHREE\n" == read_exactly(peer, 14)


def test_a_message_that_tcp_cut_in_two_is_one(serve, engine):
    """Naive: one recv is one message. Here the server has read the first half long before the second is sent."""
    seen = []

    @penstock.on_message
    def note(message):
        seen.append(message)
        return message

    with serve(note) as server, server.dial() as peer:
        peer.sendall(b"a message of two ha")
        _has_read(server, 19)
        peer.sendall(b"lves\n")

        assert b"a message of two halves\n" == peer.recv(100)
    assert [b"a message of two halves"] == seen


def test_a_message_longer_than_a_receive_buffer_is_one(serve, engine):
    """Naive: recv(1024). A message of 60,000 bytes is one message, and comes back as one."""
    seen = []

    @penstock.on_message
    def note(message):
        seen.append(len(message))
        return message

    with serve(note) as server, server.dial() as peer:
        peer.sendall(b"x" * 60_000 + b"\n")

        assert b"x" * 60_000 + b"\n" == read_exactly(peer, 60_001)
    assert [60_000] == seen


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_character_cut_between_two_reads_is_whole(serve, engine, cut):
    """Naive: recv().decode(). A character of four bytes arrives in two reads; decoding the first half would raise."""
    duck = "🦆".encode()
    with serve(shout) as server, server.dial() as peer:
        peer.sendall(b"a " + duck[:cut])
        _has_read(server, 2 + cut)
        peer.sendall(duck[cut:] + b"\n")

        assert b"A " + duck + b"\n" == peer.recv(100)


def test_a_reply_that_send_takes_only_in_part_arrives_whole(serve, engine, tmp_path):
    """Naive: send() instead of sendall(), or on a non-blocking socket. The reader is slow, the reply 20 MB."""

    @penstock.on_message(codec="lines:max=32MiB")
    def much(message):
        return message * 20_000_000

    with serve(much, bind=f"unix://{tmp_path}/s") as server, server.dial() as peer:
        peer.sendall(b"x\n")
        received = 0
        while received < 20_000_001:
            received += len(peer.recv(10_000))

        assert 20_000_001 == received


def test_an_empty_input_does_not_block_both_ends(serve, engine):
    """Naive: the client sends b"", which sends nothing, and waits for the reply to it. An empty line is a message."""
    with serve(shout) as server, server.dial() as peer:
        peer.sendall(b"\n")

        assert b"\n" == peer.recv(100)


def test_an_empty_datagram_is_a_message(serve, engine):
    """Naive: ``if not data: break``, which is for streams: one empty datagram ends the server, or is not answered."""
    with serve(services.find("echo").make(), bind="udp://127.0.0.1:0") as server, server.dial() as peer:
        for payload in (b"", b"still there?"):
            peer.send(payload)
            assert payload == peer.recv(100)


def test_a_second_client_does_not_wait_for_the_first(serve, engine):
    """Naive: accept, then talk to that one until it leaves. The first is connected, silent, and in mid-message."""
    with serve(shout) as server, server.dial() as first, server.dial() as silent:
        first.sendall(b"half")
        _has_read(server, 4)
        with server.dial() as second:
            second.sendall(b"hello\n")

            assert b"HELLO\n" == second.recv(100)
        assert b"" == b"".join(_at_once(peer) for peer in (first, silent))


def test_a_clients_reset_does_not_end_the_server(serve, engine):
    """Naive: ConnectionResetError leaves the loop that serves all. Resets in every moment; others go on."""
    with serve(shout) as server, server.dial() as other:
        for sent in (b"", b"half", b"one\n", b"one\n" * 1000):
            peer = server.dial()
            peer.sendall(sent)
            reset(peer)
        server.wait_closed(4)
        other.sendall(b"still there?\n")

        assert b"STILL THERE?\n" == other.recv(100)
        assert {"reset": 4} == dict(server.server.stats.closed)


def test_a_server_starts_again_on_an_address_in_time_wait(serve, engine):
    """Naive: no SO_REUSEADDR. The server closes first, so that its end of the connection waits; the port is free."""

    @penstock.on_message
    def bye(conn, message):
        conn.close()
        return b"bye"

    with serve(bye) as server:
        port = server.port
        with server.dial() as peer:
            peer.sendall(b"hello\n")
            assert b"bye\n" == read_to_end(peer)
        server.wait_closed(1)
    if not _in_time_wait(port):
        pytest.skip("the system keeps no more connections in TIME_WAIT: net.ipv4.tcp_max_tw_buckets is reached")
    for _ in range(3):
        with serve(shout, bind=f"tcp://127.0.0.1:{port}") as server, server.dial() as peer:
            peer.sendall(b"again\n")

            assert b"AGAIN\n" == peer.recv(100)


@pytest.mark.engines("pure", "uvloop", "native")
def test_a_peer_that_never_speaks_is_not_kept(serve, engine):
    """Naive: recv() without a timeout. By default a silent peer is closed after ten seconds."""
    clock = ManualClock()
    with serve(shout, clock=clock, timeouts=Timeouts()) as server:
        with server.dial() as peer:
            server.wait_connections(1)
            while not server.call(lambda: clock.pending):
                pass
            server.call(lambda: clock.advance(10.0))

            assert b"" == read_to_end(peer)
        assert ["first_message_timeout"] == server.reasons(1)


@pytest.mark.engines("pure", "uvloop", "native")
def test_a_peer_that_never_reads_is_not_kept(serve, engine, tmp_path):
    """Naive: sendall() blocks for ever, or what is not read piles up. The peer is cut after half a minute."""
    clock = ManualClock()

    @penstock.on_message(codec="lines:max=1MiB")
    def much(message):
        return message * 500_000

    with serve(much, clock=clock, timeouts=Timeouts(), bind=f"unix://{tmp_path}/s") as server, server.dial() as peer:
        peer.sendall(b"x\n" * 100)
        server.wait_until(lambda _: server.record.of(penstock.EventName.READING_PAUSED))
        with server.dial() as other:
            other.sendall(b"\n")
            assert b"\n" == other.recv(100)
        server.wait_closed(1)
        server.call(lambda: clock.advance(30.0))

        assert "write_timeout" == server.reasons(2)[-1]


def test_two_clients_that_never_read_do_not_stop_a_third(serve, engine, tmp_path):
    """Naive: the thread, or the loop, hangs in sendall(). The third is served at once."""

    @penstock.on_message(codec="lines:max=1MiB")
    def much(message):
        return message * 500_000

    with serve(much, bind=f"unix://{tmp_path}/s", timeouts=Timeouts(drain_s=1.0)) as server:
        with server.dial() as one, server.dial() as two, server.dial() as third:
            senders = [threading.Thread(target=peer.sendall, args=(b"x\n" * 50,)) for peer in (one, two)]
            for sender in senders:
                sender.start()
            third.sendall(b"y\n")

            assert b"y" * 500_000 + b"\n" == read_exactly(third, 500_001)
            for sender in senders:
                sender.join()


def _has_read(server, count):
    """The server has read that many bytes of its newest connections, and not a message of them was whole."""
    while sum(server.call(lambda: [conn.bytes_in for conn in server.server.connections])) != count:
        pass


def _at_once(peer):
    """What is there to be read now."""
    peer.setblocking(False)
    try:
        return peer.recv(100)
    except BlockingIOError:
        return b""


def _in_time_wait(port):
    """Whether the kernel holds a connection of that local port in TIME_WAIT, state 06 of /proc/net/tcp."""
    with open("/proc/net/tcp") as table:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "06" for line in table)
