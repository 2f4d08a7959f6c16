"""The law of groups, on every engine and model: each member gets each message once, in the order in which it was
published, or it is counted as dropped or gone.
"""

import collections
import contextlib
import socket
import threading

import pytest

import penstock
from penstock.codecs.lines import Lines
from penstock.config import Limits
from penstock.testing.peers import PATIENCE_S

from .floods import dropped

WITH_CONN = pytest.mark.forms(lambda form: form.has_conn)
KIB = 1024


def accounted(group):
    """Whether each message for each member is told of: sent, dropped or gone."""
    return group.stats.waiting == 0


def lines(peer, count):
    """The next lines that a peer hears."""
    with peer.makefile("rb", buffering=0) as file:
        return [file.readline() for _ in range(count)]


class Room:
    """A group, and a service whose every peer is in it: ``join`` is answered, anything else is told to the others."""

    def __init__(self, **publish):
        self.group = penstock.Group("room")
        self.publish = publish

    def react(self, conn, message):
        if message == b"join":
            self.group.join(conn)
            return b"joined"
        if message == b"leave":
            self.group.leave(conn)
            return b"left"
        self.group.publish(message, exclude=conn, **self.publish)
        return None

    def join(self, *peers):
        for peer in peers:
            peer.sendall(b"join\n")
            assert [b"joined\n"] == lines(peer, 1)


@WITH_CONN
def test_each_member_hears_each_message_once_in_order(serve, form):
    """Of several speakers each one's in its order, and all members hear one order of all of them."""
    room = Room()
    with serve(room.react) as server:
        peers = [server.dial() for _ in range(4)]
        *speakers, first, second = peers
        room.join(*peers)
        for number in range(100):
            for index, speaker in enumerate(speakers):
                speaker.sendall(b"%d %d\n" % (index, number))
        heard = [lines(peer, 200) for peer in (first, second)]
        for index in range(2):
            said = [line for line in heard[0] if line.startswith(b"%d " % index)]
            assert [b"%d %d\n" % (index, number) for number in range(100)] == said

        assert heard[0] == heard[1]
        assert [b"1 %d\n" % number for number in range(100)] == lines(speakers[0], 100)
        while not server.call(lambda: accounted(room.group)):
            pass
        for peer in peers:
            peer.close()

    assert (200, 600, 600, 0) == (
        room.group.stats.published,
        room.group.stats.deliveries,
        room.group.stats.delivered,
        len(room.group),
    )


@WITH_CONN
def test_a_member_leaves_by_closing_however_it_closes(serve, form):
    """By EOF, by a reset, by word; who is left hears on."""
    room = Room()
    with serve(room.react) as server:
        stays, speaks, ends, resets, leaves = peers = [server.dial() for _ in range(5)]
        room.join(*peers)
        leaves.sendall(b"leave\n")
        assert [b"left\n"] == lines(leaves, 1)
        ends.close()
        resets.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        resets.close()
        server.wait_until(lambda _: len(room.group) == 2)
        speaks.sendall(b"hello\n")

        assert [b"hello\n"] == lines(stays, 1)
        for peer in (stays, speaks, leaves):
            peer.close()
        server.wait_until(lambda _: len(room.group) == 0)


def test_members_of_several_codecs_hear_the_same_message(serve, engine, tmp_path):
    """Each framed as its own codec has it, encoded once for all that speak it."""
    encoded = collections.Counter()
    group = penstock.Group()

    class Counting(penstock.codecs.Netstring):
        def encode(self, message):
            encoded[message] += 1
            return super().encode(message)

    codec = Counting()

    @penstock.on_message(codec=codec)
    def join(conn, message):
        if message != b"join":
            conn.set_codec(penstock.codecs.Lines())
        group.join(conn)
        return b"ok"

    with serve(join, codec=codec, bind=f"unix:{tmp_path}/s") as server:
        peers = [server.dial() for _ in range(4)]
        for peer, word in zip(peers, [b"4:join,", b"4:join,", b"5:lines,", b"4:join,"], strict=True):
            peer.sendall(word)
            assert peer.recv(100) in (b"2:ok,", b"ok\n")
        encoded.clear()
        published = server.call(lambda: group.publish(b"hi"))

        assert (4, 0) == published
        assert [b"2:hi,", b"2:hi,", b"hi\n", b"2:hi,"] == [peer.recv(100) for peer in peers]
        assert 1 == encoded[b"hi"]
        for peer in peers:
            peer.close()


def test_records_and_bytes_hear_the_same_message(serve, engine, tmp_path):
    """On a seqpacket socket a message is a record, without what ends it on a stream."""
    room = Room()
    service = penstock.on_message(room.react)
    with serve(service, bind=[f"unix:{tmp_path}/s", f"unix+seqpacket:{tmp_path}/r"]) as server:
        stream, record = server.dial(0), server.dial(1)
        for peer in (stream, record):
            peer.send(b"join\n" if peer is stream else b"join")
            peer.recv(100)
        server.call(lambda: room.group.publish(b"hi"))

        assert [b"hi\n", b"hi"] == [stream.recv(100), record.recv(100)]
        for peer in (stream, record):
            peer.close()


def test_one_loop_only(serve, engine):
    """A connection of another one's would be written to by two threads."""
    room = Room()
    with serve(penstock.on_message(room.react)) as server, server.dial() as peer:
        room.join(peer)
        with serve(penstock.on_message(room.react), fails=1) as other, other.dial() as stranger:
            stranger.sendall(b"join\n")
            assert b"" == stranger.recv(100)


# -- slow members ------------------------------------------------------------------------------------------------------

LIMITS = Limits(write_high_bytes=64 * KIB, write_low_bytes=16 * KIB, write_max_bytes=256 * KIB)
SIZE = 1000
COUNT = 2000


def numbered(number):
    return b"%0*d" % (SIZE - 1, number)


class Ears:
    """Hears in a thread of its own what comes to a peer until EOF."""

    def __init__(self, peer):
        self.peer = peer
        self.received = bytearray()
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        while data := self.peer.recv(1 << 20):
            with self.changed:
                self.received += data
                self.changed.notify_all()

    def keep_up(self, count):
        """Wait until so many messages have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.received) >= count * SIZE, PATIENCE_S)

    def numbers(self):
        """The numbers of all messages that came."""
        self.thread.join(PATIENCE_S)
        return [int(line) for line in self.received.split(b"\n")[:-1]]


@pytest.fixture
def crowd(serve, engine, tmp_path):
    """Publish ``COUNT`` messages to a member that reads and to one that does not; return what each heard."""

    def run(group, reason, **publish):
        def react(conn, message):
            group.join(conn)
            return b"0"

        service = penstock.on_message(react)
        with serve(service, bind=f"unix:{tmp_path}/s", limits=LIMITS) as server:
            reader, sleeper = (server.dial() for _ in range(2))
            for peer in (reader, sleeper):
                peer.sendall(b"join\n")
                assert b"0\n" == peer.recv(10)
            ears = [Ears(reader)]
            for number in range(1, COUNT + 1):
                keyed = {"key": number % 5} if publish.get("on_slow") == "latest" else {}
                server.call(lambda number=number, keyed=keyed: group.publish(numbered(number), **publish, **keyed))
                ears[0].keep_up(number - 30)  # one that reads is not slow
            if reason is not None:
                assert [reason] == server.reasons(1)
            ears.append(Ears(sleeper))
            while not server.call(lambda: accounted(group)):
                pass
            for peer in (reader, sleeper):  # else a closing connection waits for them
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_WR)
            server.drain()
            heard = [each.numbers() for each in ears]
            for peer in (reader, sleeper):
                peer.close()
        return dict(zip(("reader", "sleeper"), heard, strict=True))

    return run


@pytest.mark.parametrize("on_slow", ["drop_newest", "drop_oldest", "latest"])
def test_a_slow_member_misses_what_its_policy_gives_up_and_the_others_nothing(crowd, on_slow):
    """What it hears is in order, each once; the rest is counted, message by message."""
    group = penstock.Group(max_waiting=10)
    heard = crowd(group, None, on_slow=on_slow)
    slow = heard["sleeper"]

    assert list(range(1, COUNT + 1)) == heard["reader"]
    assert sorted(set(slow)) == slow
    assert 0 < len(slow) < COUNT
    assert {on_slow: COUNT - len(slow)} == dict(group.stats.dropped)
    if on_slow == "drop_oldest":
        assert list(range(COUNT - 9, COUNT + 1)) == slow[-10:]
    if on_slow == "latest":
        assert list(range(COUNT - 4, COUNT + 1)) == slow[-5:]


@pytest.mark.uncipherable("close_notify is an end, and an abort sends none")
@pytest.mark.parametrize(("publish", "reason"), [({}, "slow_consumer"), ({"on_slow": "disconnect"}, "slow_consumer")])
def test_a_slow_member_is_disconnected_alone(crowd, publish, reason):
    """At the hard limit, by its own policy or by that of the publication."""
    group = penstock.Group()
    heard = crowd(group, reason, **publish)

    assert list(range(1, COUNT + 1)) == heard["reader"]
    assert COUNT > len(heard["sleeper"])
    assert COUNT == group.stats.published
    assert 2 * COUNT > group.stats.deliveries > COUNT


@pytest.mark.parametrize("last", [{}, {"on_slow": "disconnect"}])
def test_what_waits_may_be_given_up_though_one_comes_that_may_not(serve, engine, tmp_path, last):
    """It leaves the group before that one, so that the order is kept, and with its own policy: it ends no member."""
    group = penstock.Group(max_waiting=COUNT)  # eight times the hard limit

    def react(conn, message):
        group.join(conn)
        return b"0"

    with serve(penstock.on_message(react), bind=f"unix:{tmp_path}/s", limits=LIMITS) as server, server.dial() as peer:
        peer.sendall(b"join\n")
        assert [b"0\n"] == lines(peer, 1)
        for number in range(COUNT):
            options = {"on_slow": "latest", "key": number % 1000} if number % 2 else {"on_slow": "drop_oldest"}
            server.call(lambda number=number, options=options: group.publish(numbered(number), **options))
        server.call(lambda: group.publish(numbered(COUNT), **last))
        assert 1 == server.call(lambda: len(group))
        heard = []
        with peer.makefile("rb") as file:
            while COUNT not in heard:
                heard.append(int(file.readline()))
        server.wait_until(lambda _: accounted(group))
        missed = group.stats.dropped.total() + sum(dropped(server).values())

        assert sorted(set(heard)) == heard
        assert COUNT + 1 == len(heard) + missed
        assert {"drop_oldest", "latest"} >= dropped(server).keys() > set()
        peer.close()


def test_a_connection_that_is_slow_when_it_joins_is_a_slow_member(serve, engine, tmp_path):
    """Though it was over its watermark before the group asked to be told of that; and it is resumed as the others."""
    group = penstock.Group()
    conns = []

    def react(conn, message):
        conn.post_frame(b"x" * 4096 * KIB + b"\n")
        conns.append(conn)

    with serve(penstock.on_message(react), bind=f"unix:{tmp_path}/s", limits=LIMITS) as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            while not conns or not server.call(lambda: conns[0].output_paused):
                pass
            slow = server.call(lambda: group.join(conns[0]).is_slow)
            server.call(lambda: group.publish(b"dropped", on_slow="drop_newest"))
            server.call(lambda: group.publish(b"kept", on_slow="latest"))

            assert (True, {"drop_newest": 1}) == (slow, dict(group.stats.dropped))
            assert [b"x" * 4096 * KIB + b"\n", b"kept\n"] == lines_at_once(peer, 2)


def lines_at_once(peer, count):
    """The next lines that a peer hears, where those are long."""
    with peer.makefile("rb") as file:
        return [file.readline() for _ in range(count)]


@WITH_CONN
def test_a_member_that_sets_another_codec_is_told_of(serve, form):
    """To the group, by the time of the next line: what other workers publish has to be encoded by that one."""
    room = Room()
    told = []
    codecs = [Lines(), Lines(newline="crlf")]
    room.group.codec_changed = lambda member: told.append(member.conn.codec)

    def react(conn, message):
        if message == b"switch":
            conn.set_codec(codecs[len(told)])
            return b"switched"
        return room.react(conn, message)

    with serve(react) as server, server.dial() as peer:
        room.join(peer)
        for _ in codecs:
            peer.sendall(b"switch\n")
            assert b"switched" == lines(peer, 1)[0].rstrip()
        peer.sendall(b"leave\n")
        assert b"left\r\n" == lines(peer, 1)[0]

    assert codecs == told
