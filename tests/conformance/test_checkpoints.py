"""A conversation that goes on in another server from its last checkpoint."""

import asyncio
import contextlib
import contextvars
import os
import random
import socket
import threading
import time

import pytest

import penstock
from penstock.config import Limits
from penstock.units import Rate

from .test_handover import move, pair, talk, the_only

engines = pytest.mark.engines("pure", "uvloop", "native", "attached")
pytestmark = [engines, pytest.mark.uncipherable("a connection under TLS drains")]

variable = contextvars.ContextVar("variable", default="fresh")


def counting(**options):
    """A service that answers each message with its number on this connection."""

    @penstock.on_connection(handover=True, **options)
    async def numbered(conn):
        count = conn.state or 0
        conn.checkpoint(count)
        async for message in conn:
            count += 1
            await conn.send(b"%d %s" % (count, message))
            conn.checkpoint(count)

    return numbered


def ask(peer, message):
    """Send a line; return what is answered."""
    peer.sendall(message + b"\n")
    got = b""
    while not got.endswith(b"\n"):
        more = peer.recv(100)
        if not more:
            break
        got += more
    return got


def moves(source, target, **options):
    """Move the one connection of a server once its conversation waits; return whether it could be moved."""
    source.wait_until(lambda server: server.connections and the_only(server).why_it_stays() == "")
    return move(source, target, **options)


def why(server):
    """Return why the one connection of a server stays."""
    return server.call(lambda: the_only(server.server).why_it_stays())


def test_a_conversation_begins_anew_with_what_its_checkpoint_said(serve):
    """Its number and its counts stay, and a message of which half has come is cut where the other half comes."""
    with pair(serve, counting()) as (one, two, peer):
        assert b"1 hello\n" == ask(peer, b"hello")
        number = one.call(lambda: the_only(one.server).id)
        peer.sendall(b"hal")
        one.wait_until(lambda server: the_only(server).bytes_in == 9)
        assert moves(one, two)

        assert b"2 half\n" == ask(peer, b"f")
        assert moves(two, one)
        assert b"3 again\n" == ask(peer, b"again")
        assert (number, 3, 3) == one.call(
            lambda: (
                the_only(one.server).id,
                the_only(one.server).messages_in,
                the_only(one.server).messages_out,
            )
        )
        assert (1, 0) == tuple(each.call(lambda each=each: each.server.gate.open) for each in (one, two))


def test_one_that_moves_before_it_has_received_anything_moves_again(serve):
    """What it was told of is its checkpoint there, until it makes another one."""
    with pair(serve, counting()) as (one, two, peer):
        for _ in range(3):
            assert moves(one, two)
            assert moves(two, one)

        assert b"1 hello\n" == ask(peer, b"hello")


def test_pipelined_messages_are_neither_lost_nor_doubled_nor_out_of_order(serve):
    """Whatever was read and not received, sent and not taken, wherever the network has cut it; many times in a row."""
    rng = random.Random(16)
    messages = [bytes([97 + number % 26]) * rng.choice([0, 1, 20, 3000]) for number in range(1500)]
    cuts = [rng.choice([1, 7, 500, 9000]) for _ in range(200)]
    expected = b"".join(b"%d %s\n" % (number + 1, message) for number, message in enumerate(messages))
    moved = 0
    with pair(serve, counting()) as (one, two, peer):
        got = bytearray()
        writer = threading.Thread(target=talk, args=(peer, messages, cuts, lambda _: None))
        writer.start()
        here, there = one, two
        while len(got) < len(expected):
            if move(here, there):
                here, there = there, here
                moved += 1
            got += peer.recv(rng.choice([1, 100, 100_000]))
        writer.join()
        while not moved:  # beside other load it may have been at work whenever it was asked
            time.sleep(0.001)
            moved += move(here, there)

        assert expected == bytes(got)
        peer.close()
        for each in (one, two):
            each.wait_connections(0)
    assert {"handed_over"} == {*one.record.reasons, *two.record.reasons} - {"peer_closed"}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unmarked", "it has made no checkpoint since its last message"),
        ("at work", "it has made no checkpoint since its last message"),
        ("limited", "it does not wait for a message alone"),
        ("elsewhere", "it does not wait for a message alone"),
        ("octets", "it has made no checkpoint since its last message"),
        ("told in the middle of octets", "it does not wait for a message alone"),
        ("told before octets", "it has made no checkpoint since its last message"),
        ("has sent", "it has made no checkpoint since its last message"),
        ("has sent raw", "it has made no checkpoint since its last message"),
        ("another task", "another task of it receives"),
    ],
)
def test_one_that_is_at_no_boundary_stays(serve, kind, reason):
    """It would begin anew with what it does not know, or what it waits for would begin anew."""
    never = asyncio.Event()

    @penstock.on_connection(handover=True)
    async def busy(conn):
        if kind != "unmarked":
            conn.checkpoint(None)
        match kind:
            case "limited":
                await conn.receive(60)
            case "elsewhere":
                await never.wait()
            case "octets":
                await conn.receive_exactly(5)
            case "told in the middle of octets":
                asyncio.get_running_loop().call_soon(conn.checkpoint, None)
                await conn.receive_exactly(5)
            case "told before octets":
                octets = conn.receive_exactly(5)
                conn.checkpoint(None)
                await octets
            case "has sent":
                await conn.send(b"question")
                await conn.receive()
            case "has sent raw":
                await conn.send_raw(b"question\n")
                await conn.receive()
            case "another task":
                await asyncio.gather(conn.receive())
            case _:
                async for _message in conn:
                    await conn.send(b"here")
                    if kind == "at work":
                        await never.wait()

    with pair(serve, busy, fails=None) as (one, two, peer):  # some of them meet the end of the stream
        if kind == "at work":
            assert b"here\n" == ask(peer, b"hello")
        one.wait_until(lambda server: reason == the_only(server).why_it_stays())

        assert not move(one, two)
        one.call(never.set)  # the end has nothing to wait for


@pytest.mark.parametrize("codec", ["lines", "lines:quiet=400ms"])
def test_one_that_has_asked_something_stays(serve, codec):
    """The next worker would ask it again, and take the answer to the first question for that to the second."""
    answers = []

    @penstock.on_connection(handover=True, codec=codec)
    async def asking(conn):
        conn.checkpoint(None)
        answers.append(await conn.request(b"question"))
        await conn.receive()

    with pair(serve, asking, fails=None) as (one, two, peer):
        assert b"question\n" == peer.recv(100)
        assert not move(one, two)
        peer.sendall(b"answer\n")
        one.wait_until(lambda _: answers)

        assert "it has made no checkpoint since its last message" == why(one)
        assert not move(one, two)


def test_what_others_send_while_it_waits_leaves_its_checkpoint_as_it_is(serve):
    """It is no work of the conversation, and goes along: each is sent once."""
    with pair(serve, counting()) as (one, two, peer):
        one.wait_until(lambda server: server.connections and the_only(server).why_it_stays() == "")
        one.call(lambda: asyncio.ensure_future(the_only(one.server).send(b"from another")))
        assert b"from another\n" == peer.recv(100)

        assert moves(one, two)
        assert b"1 hello\n" == ask(peer, b"hello")


@pytest.mark.parametrize(
    ("keeps", "expected"), [("work", True), ("rate", True), ("task", False), ("eof", False), ("no checkpoint", False)]
)
def test_it_is_looked_at_again_where_only_its_work_keeps_it(serve, keeps, expected):
    """A drain waits for that: what keeps a connection here in any case is not waited for."""
    never = asyncio.Event()

    @penstock.on_connection(handover=True)
    async def working(conn):
        if keeps != "no checkpoint":
            conn.checkpoint(None)
        async for _message in conn:
            await conn.send(b"here")
            if keeps == "task":
                conn.task(never.wait(), finish=True)
            if keeps != "rate":
                await never.wait()

    limits = Limits(max_message_rate=Rate(1, 64.0)) if keeps == "rate" else Limits()
    with pair(serve, working, fails=None, limits=limits) as (one, two, peer):
        assert b"here\n" == ask(peer, b"hello")
        if keeps == "rate":
            peer.sendall(b"more\n")
        if keeps == "eof":
            peer.shutdown(socket.SHUT_WR)
        one.wait_until(lambda server: expected == the_only(server).is_at_work())

        assert why(one)
        assert not move(one, two)
        one.call(lambda: (never.set(), the_only(one.server).abort()))  # the end has nothing to wait for


def test_where_it_was_it_is_cancelled_and_can_send_nothing(serve):
    """Its blocks come to their ends there. It is no failure of it."""
    ends = []

    @penstock.on_connection(handover=True)
    async def tidy(conn):
        try:
            conn.checkpoint(conn.state or "told")
            async for message in conn:
                await conn.send(message + conn.state.encode() + variable.get().encode())
        finally:
            with contextlib.suppress(penstock.PenstockError):
                conn.post(b"from before")
            ends.append(str(conn.close_reason))

    with pair(serve, tidy) as (one, two, peer):
        token = variable.set("not told")
        assert moves(one, two)
        variable.reset(token)
        one.wait_until(lambda _: ends)

        assert ["handed_over"] == ends
        assert b"hello told fresh\n" == ask(peer, b"hello ").replace(b"toldfresh", b"told fresh")
        assert 0 == one.call(lambda: len(one.server.connections))
        peer.close()


@pytest.mark.parametrize("meanwhile", ["post", "close", "drain", "cancel"])
def test_what_happens_while_it_is_held_is_done(serve, meanwhile):
    """It is posted and closed where it is then; a drain is its old server's, and one that wakes stays."""
    with pair(serve, counting(), fails=int(meanwhile == "cancel")) as (one, _, peer):
        assert b"1 hello\n" == ask(peer, b"hello")
        one.wait_until(lambda server: the_only(server).why_it_stays() == "")

        def hold():
            conn = the_only(one.server)
            assert conn.hold(one.server.mover) is not None
            match meanwhile:
                case "post":
                    conn.post(b"late")
                case "close":
                    conn.post(b"last")
                    conn.close()
                case "drain":
                    conn.drain()
                case "cancel":
                    conn.cancel_handler()
            still = conn.still_moves()
            conn.stay()
            return still

        still = one.call(hold)

        assert (meanwhile in {"post", "drain"}) == still
        expected = {"post": b"late\n", "close": b"last\n", "drain": b"", "cancel": b""}[meanwhile]
        got = b""
        while len(got) < len(expected) or meanwhile != "post":
            more = peer.recv(100)
            if not more:
                break
            got += more
        assert expected == got
        if meanwhile == "post":
            assert b"2 more\n" == ask(peer, b"more")


def test_one_that_is_not_taken_goes_on_as_if_nothing_had_been(serve):
    """What came meanwhile is received, and it may move another time."""
    with pair(serve, counting()) as (one, two, peer):
        one.wait_until(lambda server: the_only(server).why_it_stays() == "")
        conn = one.call(lambda: the_only(one.server))
        assert one.call(lambda: conn.hold(one.server.mover)) is not None
        peer.sendall(b"meanwhile\n")
        one.call(conn.stay)
        assert b"1 meanwhile\n" == peer.recv(100)
        assert moves(one, two)

        assert b"2 more\n" == ask(peer, b"more")


def test_the_time_it_may_be_idle_does_not_begin_anew(serve):
    """The clock goes on where it stood, though the conversation begins anew."""
    with pair(serve, counting(), timeout_idle=1000) as (one, two, peer):
        assert b"1 hello\n" == ask(peer, b"hello")
        one.wait_until(lambda server: the_only(server).why_it_stays() == "")

        def leave():
            conn = the_only(one.server)
            return conn, conn.hold(one.server.mover), os.dup(conn.fileno())

        conn, snapshot, descriptor = one.call(leave)

        def arrive():
            sock = socket.socket(fileno=descriptor)
            sock.setblocking(False)
            return two.server.adopt(sock, two.server.mover.arrival(snapshot, 900.0))

        adoption = two.call(arrive)
        two.call(adoption.begin)
        one.call(conn.move_on)
        two.wait_until(lambda server: the_only(server).why_it_stays() == "")
        idle_s = two.call(lambda: the_only(two.server).idle_for(two.server.loop.time()))

        assert 900 <= idle_s < 1000
        peer.close()


def test_a_checkpoint_is_for_services_that_hand_over(serve):
    """Others are told so: it would come to nothing."""
    told = []

    @penstock.on_connection
    async def quiet(conn):
        try:
            conn.checkpoint(1)
        except penstock.LocalProtocolError as error:
            told.append(str(error))

    with serve(quiet) as server, server.dial() as peer:
        assert b"" == peer.recv(1)

    assert ["its connections are not handed over: add handover=True to @on_connection"] == told


def test_a_state_that_is_no_plain_data_stays_and_is_told_of(serve):
    """As with what `on_handover` returns."""

    @penstock.on_connection(handover=True)
    async def strange(conn):
        conn.checkpoint(object())
        async for message in conn:
            await conn.send(message)

    with pair(serve, strange, fails=1) as (one, two, peer):
        one.wait_until(lambda server: the_only(server).why_it_stays() == "")

        assert not move(one, two)
        assert b"hello\n" == ask(peer, b"hello")
        peer.close()
