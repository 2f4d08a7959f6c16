"""A connection that goes on in another server: its peer notices nothing, whatever is under way."""

import contextlib
import os
import random
import socket
import threading

import pytest

import penstock
from penstock.address import Peer
from penstock.config import GateConfig
from penstock.core.events import EventName
from penstock.core.handover.snapshot import decoded, encoded
from penstock.core.proxy import AUTHORITY, UNIQUE_ID, ProxyHeader, write_header

engines = pytest.mark.engines("pure", "uvloop", "native", "attached")
pytestmark = [engines, pytest.mark.uncipherable("a connection under TLS drains")]


class Numbered(penstock.Handler):
    """Answers each message with its number on this connection, a service that remembers something."""

    def on_connect(self, conn):
        self.count = 0

    def on_message(self, conn, message):
        self.count += 1
        return b"%d %s" % (self.count, message)

    def on_handover(self, conn):
        return {"count": self.count}

    def on_takeover(self, conn, state: dict):
        self.count = state["count"]


@contextlib.contextmanager
def pair(serve, first, second=None, *, send_buffer_bytes=None, **options):
    """Serve twice, with a peer of the first server, who connects first: libuv opens a descriptor of its own then."""
    with serve(first, **{"fails": 0} | {name: options[name] for name in options if name != "second_fails"}) as one:
        if send_buffer_bytes is not None:
            one.shrink_send_buffers(send_buffer_bytes)
        peer = one.dial(receive_buffer_bytes=send_buffer_bytes)
        one.wait_connections(1)
        options["fails"] = options.pop("second_fails", 0)
        with serve(second or first, **options) as two, peer:
            yield one, two, peer


def the_only(server):
    [conn] = server.connections
    return conn


def move(source, target, *, meanwhile=None):
    """Move the one connection of a server to another one, by way of bytes. Return whether it could be moved."""

    def leave():
        conn = the_only(source.server)
        snapshot = conn.hold(source.server.mover)
        return None if snapshot is None else (conn, encoded(snapshot), os.dup(conn.fileno()))

    left = source.call(leave)
    if left is None:
        return False
    conn, data, descriptor = left

    def arrive():
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        return target.server.adopt(sock, target.server.mover.arrival(decoded(data), 0.0))

    adoption = target.call(arrive)
    if meanwhile is not None:
        source.call(lambda: meanwhile(conn))
    target.call(adoption.begin)
    late = source.call(conn.move_on)
    target.call(lambda: adoption.connection.arrived_late(late))
    return True


def talk(peer, messages, cuts, sent):
    """Send the messages in pieces, without waiting for answers."""
    wire = b"".join(message + b"\n" for message in messages)
    at = 0
    for size in cuts:
        peer.sendall(wire[at : at + size])
        at += size
        sent(at)
    peer.sendall(wire[at:])


@pytest.mark.parametrize("codec", ["lines", "lines:on-oversize=skip"], ids=["plain", "skipping"])
def test_a_pipelined_conversation_goes_on_without_a_byte_lost_doubled_or_out_of_order(serve, codec):
    """Whatever was read and not handled, sent and not taken, wherever the network has cut it; many times in a row."""
    rng = random.Random(16)
    messages = [bytes([97 + number % 26]) * rng.choice([0, 1, 20, 3000]) for number in range(2000)]
    cuts = [rng.choice([1, 7, 500, 9000]) for _ in range(300)]
    expected = b"".join(b"%d %s\n" % (number + 1, message) for number, message in enumerate(messages))
    moves = 0
    with pair(serve, Numbered, codec=codec) as (one, two, peer):
        got = bytearray()
        writer = threading.Thread(target=talk, args=(peer, messages, cuts, lambda _: None))
        writer.start()
        here, there = one, two
        number = here.call(lambda: the_only(here.server).id)
        while len(got) < len(expected):
            if move(here, there):
                here, there = there, here
                moves += 1
            got += peer.recv(rng.choice([1, 100, 100_000]))
        writer.join()

        assert expected == bytes(got)
        assert number == here.call(lambda: the_only(here.server).id)
        assert 2000 == here.call(lambda: the_only(here.server).messages_in)
        assert 2000 == here.call(lambda: the_only(here.server).messages_out)
        assert (len(b"".join(messages)) + 2000, len(expected)) == here.call(
            lambda: (the_only(here.server).bytes_in, the_only(here.server).bytes_out)
        )
        assert 2000 == sum(each.call(lambda each=each: each.server.messages_in) for each in (one, two))
        assert [1, 0] == [each.call(lambda each=each: each.server.gate.open) for each in (here, there)]
        assert moves
        peer.close()
        here.wait_connections(0)
    assert {"handed_over"} == {*one.record.reasons, *two.record.reasons} - {"peer_closed"}
    assert moves == len(one.record.of(EventName.TAKEN_OVER)) + len(two.record.of(EventName.TAKEN_OVER))


def test_output_that_the_peer_does_not_read_moves_with_its_connection(serve):
    """What the kernel has not taken and what waits behind it arrive, and the connection is not read meanwhile."""
    big = b"x" * 60_000
    with pair(serve, Numbered, send_buffer_bytes=4096) as (one, two, peer):
        for _ in range(10):
            peer.sendall(big + b"\n")
        one.wait_until(lambda server: server.connections and the_only(server).queued_bytes > 65536)
        queued = one.call(lambda: the_only(one.server).queued_bytes)
        here = two
        if not move(one, two):  # a loop of another's making does not say what waits
            assert "uvloop" in str(one.call(lambda: one.server.loop))
            here = one
        assert queued >= here.call(lambda: the_only(here.server).queued_bytes) > 0
        assert here.call(lambda: the_only(here.server).output_paused)
        expected = b"".join(b"%d %s\n" % (number + 1, big) for number in range(10))
        got = b""
        while len(got) < len(expected):
            got += peer.recv(65536)

        assert expected == got
        peer.sendall(b"more\n")
        assert b"11 more\n" == peer.recv(100)
        peer.close()


def test_what_a_group_has_for_a_connection_moves_with_it_and_is_counted(serve):
    """It waits for a peer that does not read, in a group that knows nothing of the other process."""
    group = penstock.Group()
    big = b"x" * 60_000

    class Member(Numbered):
        def on_connect(self, conn):
            super().on_connect(conn)
            group.join(conn)

    with pair(serve, Member, send_buffer_bytes=4096) as (one, two, peer):
        for _ in range(10):
            peer.sendall(big + b"\n")
        one.wait_until(lambda server: server.connections and the_only(server).output_paused)
        one.call(lambda: group.publish(b"waits", on_slow="drop_oldest"))
        assert 1 == group.stats.waiting
        moved = move(one, two)  # a loop of another's making does not say what waits
        with peer.makefile("rb") as file:
            got = [file.readline() for _ in range(11)]
        one.wait_until(lambda _: group.stats.waiting == 0)

        assert [b"%d %s\n" % (number + 1, big) for number in range(10)] == [line for line in got if line != b"waits\n"]
        assert 1 == got.count(b"waits\n")
        assert (1, 0, int(not moved)) == (group.stats.delivered, group.stats.gone, len(group))
        peer.close()


def test_what_is_sent_while_a_connection_moves_arrives(serve):
    """A group in the old process does not know that its member is about to leave."""
    with pair(serve, Numbered) as (one, two, peer):
        peer.sendall(b"hello\n")
        assert b"1 hello\n" == peer.recv(100)
        assert move(one, two, meanwhile=lambda conn: (conn.post(b"late"), conn.post_frame(b"later\n")))
        got = b""
        while len(got) < 11:
            got += peer.recv(100)

        assert b"late\nlater\n" == got
        peer.sendall(b"again\n")
        assert b"2 again\n" == peer.recv(100)
        peer.close()


def test_a_connection_that_is_closed_while_it_moves_closes_where_it_is_then(serve):
    """What was posted before that arrives."""
    with pair(serve, Numbered) as (one, two, peer):
        peer.sendall(b"hello\n")
        assert b"1 hello\n" == peer.recv(100)
        assert move(one, two, meanwhile=lambda conn: (conn.post(b"bye"), conn.close()))

        assert b"bye\n" == peer.recv(100)
        assert b"" == peer.recv(100)
        peer.close()
        two.wait_connections(0)
    assert ["handed_over"] == one.record.reasons
    assert ["done"] == two.record.reasons


def test_a_connection_that_nobody_takes_goes_on_where_it_was(serve):
    """As if nothing had been: what came and what was sent meanwhile is not lost, and on_connect is not called again."""
    with serve(Numbered) as one:
        peer = one.dial()
        peer.sendall(b"hello\nhal")
        assert b"1 hello\n" == peer.recv(100)

        def hold():
            conn = the_only(one.server)
            assert conn.hold(one.server.mover) is not None
            assert conn.why_it_stays()
            conn.post(b"meanwhile")
            return conn

        conn = one.call(hold)
        peer.sendall(b"f\nwhole\n")
        one.call(conn.stay)
        got = b""
        while len(got) < 25:
            got += peer.recv(100)

        assert b"meanwhile\n2 half\n3 whole\n" == got
        peer.close()
        one.wait_connections(0)
    assert ["peer_closed"] == one.record.reasons


def test_a_connection_that_is_told_to_drain_while_it_is_held_drains_when_it_stays(serve):
    """The end of the server comes first: nobody waits for its deadline."""
    with serve(Numbered) as one:
        peer = one.dial()
        peer.sendall(b"hello\n")
        assert b"1 hello\n" == peer.recv(100)

        def hold_and_drain():
            conn = the_only(one.server)
            assert conn.hold(one.server.mover) is not None
            one.server.begin_drain()
            return conn

        conn = one.call(hold_and_drain)
        one.call(conn.stay)

        assert b"" == peer.recv(100)
        peer.close()
        one.wait_connections(0)
    assert ["drained"] == one.record.reasons


class Failing(Numbered):
    def on_takeover(self, conn, state: dict):
        raise RuntimeError("not today")


def test_a_handler_that_cannot_take_over_leaves_the_connection_where_it_was(serve):
    """Its failure is reported once, in the new process, which keeps nothing of the connection."""
    with pair(serve, Numbered, Failing, second_fails=1) as (one, two, peer):
        peer.sendall(b"hello\n")
        assert b"1 hello\n" == peer.recv(100)
        with pytest.raises(RuntimeError, match="not today"):
            move(one, two)
        one.call(lambda: the_only(one.server).stay())

        assert 0 == two.call(lambda: two.server.gate.open)
        peer.sendall(b"again\n")
        assert b"2 again\n" == peer.recv(100)
        peer.close()


class Stateful(Numbered):
    """Its on_handover is the test's."""

    def on_handover(self, conn):
        return handing(conn)


def handing(conn):
    raise NotImplementedError


@pytest.mark.parametrize("way", ["raises", "is no plain data", "closes"])
def test_a_handler_that_does_not_hand_over_keeps_its_connection(serve, way, monkeypatch):
    """What it raises is reported; it goes on all the same. What it asks for beside that is done."""

    def hand(conn):
        if way == "raises":
            raise RuntimeError("no")
        if way == "closes":
            conn.close()
        return object() if way == "is no plain data" else None

    monkeypatch.setitem(globals(), "handing", hand)
    with serve(Stateful, fails=0 if way == "closes" else 1) as one:
        peer = one.dial()
        peer.sendall(b"hello\n")
        assert b"1 hello\n" == peer.recv(100)
        assert one.call(lambda: the_only(one.server).hold(one.server.mover)) is None
        if way == "closes":
            assert b"" == peer.recv(100)
        else:
            peer.sendall(b"again\n")
            assert b"2 again\n" == peer.recv(100)
        peer.close()
        one.wait_connections(0)


@penstock.on_message(codec="lines", handover=True)
def counts(conn, message):
    conn.state = (conn.state or 0) + 1
    return b"%d" % conn.state


def test_a_function_hands_the_state_of_its_connection_over(serve):
    """What it has put there, if that is plain data."""
    with pair(serve, counts) as (one, two, peer):
        for number in (b"1\n", b"2\n"):
            peer.sendall(b"x\n")
            assert number == peer.recv(100)
        assert move(one, two)
        peer.sendall(b"x\n")

        assert b"3\n" == peer.recv(100)
        peer.close()


def test_our_direction_stays_ended(serve):
    """A half-closed connection goes on receiving."""
    with pair(serve, Numbered) as (one, two, peer):
        peer.sendall(b"hello\n")
        assert b"1 hello\n" == peer.recv(100)
        one.call(lambda: the_only(one.server).send_eof())
        assert b"" == peer.recv(100)
        assert move(one, two)
        assert two.call(lambda: the_only(two.server).phase) == "local_eof"
        peer.close()
        two.wait_connections(0)


class Proxied(Numbered):
    """Answers what its proxy has said."""

    def on_message(self, conn, message):
        return repr((conn.proxy, conn.proxy.tlvs, str(conn.peer))).encode()


def test_what_a_proxy_has_said_moves_with_its_connection(serve):
    """``conn.proxy``, values that follow the addresses included: the header was read by the process before."""
    client, at = (Peer((host, 1234), socket.AF_INET) for host in ("192.0.2.1", "192.0.2.2"))
    header = write_header(ProxyHeader(2, False, client, at, ((AUTHORITY, b"example"), (UNIQUE_ID, b"\xff"))))
    with (
        pair(serve, Proxied, gate=GateConfig(proxy_from=("127.0.0.1",))) as (one, two, peer),
        peer.makefile("rb") as file,
    ):
        peer.sendall(header + b"?\n")
        before = file.readline()
        moved = move(one, two)
        peer.sendall(b"?\n")

        assert (True, True) == (moved, b"192.0.2.1" in before)
        assert before == file.readline()
        peer.close()


@pytest.mark.parametrize("other", ["another class", "a subclass", "another instance"])
def test_a_connection_whose_handler_was_exchanged_stays(serve, other):
    """The next process would have one of the service's kind, and no state that it knows."""

    class Other(penstock.Handler):
        def on_message(self, conn, message):
            return b"other"

    class First(Numbered):
        said = b"first"

        def on_message(self, conn, message):
            if self.said == b"first":
                conn.set_handler(others[other])
            return self.said

    class Inside(First):
        said = b"other"

    again = First()
    again.said = b"other"
    others = {"another class": Other(), "a subclass": Inside(), "another instance": again}

    with pair(serve, First) as (one, two, peer), peer.makefile("rb") as file:
        peer.sendall(b"?\n")
        got = [file.readline()]
        assert not move(one, two)
        peer.sendall(b"?\n")
        got.append(file.readline())

        assert [b"first\n", b"other\n"] == got
        peer.close()


def test_a_connection_that_has_its_first_handler_again_moves(serve):
    """Also where it could not move meanwhile."""

    class Outside(penstock.Handler):
        def __init__(self, first):
            self.first = first

        def on_message(self, conn, message):
            conn.set_handler(self.first)
            return b"back"

    class First(Numbered):
        def on_message(self, conn, message):
            if message != b"out":
                return super().on_message(conn, message)
            conn.set_handler(Outside(self))
            return b"out"

    with pair(serve, First) as (one, two, peer), peer.makefile("rb") as file:
        got, moved = [], []
        for word in (b"in\n", b"out\n", b"?\n"):
            peer.sendall(word)
            got.append(file.readline())
            moved.append(word != b"in\n" and move(one, two))
        peer.sendall(b"in\n")

        assert ([b"1 in\n", b"out\n", b"back\n"], [False, False, True]) == (got, moved)
        assert b"2 in\n" == file.readline()
        peer.close()
