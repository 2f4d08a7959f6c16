"""Peers that take their time: T-35 to T-38, T-40. Time is told by a clock that stands still until it is moved."""

import socket
import time

import pytest

import penstock
from penstock.config import Limits, OverloadConfig, TcpConfig, Timeouts
from penstock.core.budget import FREE_BYTES
from penstock.testing.clock import ManualClock
from penstock.testing.peers import PATIENCE_S, dial

KIB = 1024
MIB = 1024**2

NEVER = Timeouts(None, None, None, None, None, drain_s=10.0, linger_s=0.0, message_bytes_per_s=None)


@penstock.on_message(codec="lines")
def echo(message):
    return message


def advance(server, clock, seconds):
    server.call(lambda: clock.advance(seconds))


def reasons_of(server, clock, count):
    """Why so many ended: they linger for no time at all, but what sets a timer for that may run after the advance."""

    def ended():
        clock.advance(0.0)
        return server.server.stats.closed.total() >= count

    deadline = time.monotonic() + PATIENCE_S
    while not server.call(ended):
        assert time.monotonic() < deadline, "they did not end"
        time.sleep(0.002)  # the server's threads have better things to do than to answer this
    return server.reasons(count)


def test_slowloris_harms_nobody_and_is_over_on_time(serve, opened, until, tools, engine, figure):
    """T-35: a byte now and then keeps no connection open: the deadline counts from a message's first byte."""
    attackers = 300 if engine.name == "blocking" else 2000  # each has a thread there
    clock = ManualClock()
    with serve(echo, clock=clock, timeouts=NEVER.merged(message_s=30.0)) as server:
        honest = server.dial()
        opened.append(honest)
        assert b"ping\n" == tools.ask(honest)
        slow = [server.dial() for _ in range(attackers)]
        opened.extend(slow)
        server.wait_connections(attackers + 1)
        memory = tools.resident_bytes()
        answered = 0
        for second in range(3):
            for sock in slow:
                sock.send(b"x")
            sent = (second + 1) * attackers + 5 * (answered + 1)
            until(server, lambda it, sent=sent: sum(conn.bytes_in for conn in it.connections) == sent)
            if second < 2:
                advance(server, clock, 10.0)
                answered += tools.ask(honest) == b"ping\n"
        memory = tools.resident_bytes() - memory
        advance(server, clock, 9.999)
        before = len(server.server.connections)
        advance(server, clock, 0.001)
        reasons = reasons_of(server, clock, attackers)
        answered += tools.ask(honest) == b"ping\n"
    figure(
        f"T-35 {engine.label}: {attackers} slow peers, {memory / attackers / KIB:.1f} KiB each, another answered "
        f"{answered} of 3; all gone at 30.000 s, none at 29.999 s"
    )

    assert attackers + 1 == before
    assert ["message_timeout"] * attackers == reasons
    assert 3 == answered


def test_a_long_message_has_time_as_long_as_it_comes(serve, opened, until):
    """The slowest rate: 1 s more for each 64 KiB that have come, so that 1 MiB on a slow line is no attack."""
    service = penstock.on_message(codec="lines:max=1MiB")(lambda message: message)
    clock = ManualClock()
    timeouts = NEVER.merged(message_s=30.0, message_bytes_per_s=64 * KIB)
    with serve(service, clock=clock, timeouts=timeouts) as server:
        sock = server.dial()
        opened.append(sock)
        sock.sendall(b"x" * (200 * KIB))
        until(server, lambda it: sum(conn.bytes_in for conn in it.connections) == 200 * KIB)
        advance(server, clock, 32.999)
        assert 1 == len(server.server.connections)
        advance(server, clock, 0.001)

        assert ["message_timeout"] == reasons_of(server, clock, 1)


def test_the_silent_are_closed_at_the_first_message_deadline(serve, opened, engine, figure):
    """T-36: connecting costs the attacker as much as the server, and lasts no longer than ten seconds."""
    clock = ManualClock()
    with serve(echo, clock=clock, timeouts=NEVER.merged(first_message_s=10.0)) as server:
        opened.extend(server.dial() for _ in range(200))
        server.wait_connections(200)
        advance(server, clock, 9.999)
        before = len(server.server.connections)
        advance(server, clock, 0.001)
        reasons = reasons_of(server, clock, 200)
    figure(f"T-36 {engine.label}: 200 silent peers: {before} there at 9.999 s, 0 at 10.000 s")

    assert 200 == before
    assert ["first_message_timeout"] * 200 == reasons


class Owe(penstock.Handler):
    """Owes its peer ten mebibytes for one line."""

    def on_message(self, conn, message):
        try:
            for _ in range(160):
                conn.post(b"x" * (64 * KIB - 1))
            conn.state = "owing"
        except penstock.SlowPeerError:
            pass


def owing(reads=()):
    return penstock.as_service(Owe, codec="lines:max=1MiB")


def test_those_who_never_read_are_cut_at_the_hard_limit(serve, opened, tools, engine, figure):
    """T-37: each is owed 10 MiB and holds 1 MiB of it at most; others are served meanwhile."""
    peers = 1000
    with serve(owing(), timeouts=NEVER) as server:
        memory = tools.resident_bytes()
        for _ in range(peers):
            sock = dial(server.address, receive_buffer_bytes=4096)
            opened.append(sock)
            sock.sendall(b"go\n")
        reasons = server.reasons(peers)
        most = tools.resident_bytes() - memory
        sent = max(event.bytes_out for event in server.record.of(penstock.EventName.CLOSED))
    figure(
        f"T-37 {engine.label}: {peers} peers that never read, owed 10 MiB each: every one cut, at most "
        f"{sent / MIB:.1f} MiB taken for one, {most / MIB:.0f} MiB more resident"
    )

    assert ["slow_consumer"] * peers == reasons
    assert 10 * MIB > sent


@pytest.mark.parametrize("unsent_bytes", [256 * KIB, None])
def test_the_kernel_holds_little_for_those_who_never_read(serve, opened, until, engine, unsent_bytes, figure):
    """T-37: what it takes is beyond every limit of the process; left alone it takes megabytes for each."""
    peers, owed = 20, 160 * 64 * KIB
    limits, tcp = Limits(write_max_bytes=16 * MIB), TcpConfig(unsent_bytes=unsent_bytes)
    with serve(owing(), timeouts=NEVER, limits=limits, tcp=tcp) as server:
        for _ in range(peers):
            opened.append(server.dial())
            opened[-1].sendall(b"go\n")
        until(server, lambda it: [conn.state for conn in it.connections] == ["owing"] * peers)
        taken = server.call(lambda: max(owed - conn.held_bytes for conn in server.server.connections))
        server.call(server.server.begin_stop)
    label = "none" if unsent_bytes is None else f"{unsent_bytes // KIB} KiB"
    figure(
        f"T-37 {engine.label}: the kernels take {taken / KIB:.0f} KiB for a peer that never reads, tcp_unsent {label}"
    )

    assert (taken < 640 * KIB) is (unsent_bytes is not None)


def test_above_the_budget_of_all_only_those_who_do_not_read_are_ended(serve, opened, tools, engine, figure):
    """T-37: peers under their own limits are together far above the budget; the one who reads is served on."""
    budget, peers, owed = 4 * MIB, 30, MIB  # of which the kernels take a fifth

    class OweSome(penstock.Handler):
        def on_message(self, conn, message):
            if message == b"ping":
                return message
            try:
                for _ in range(owed // (50 * KIB)):
                    conn.post(b"x" * (50 * KIB - 1))
            except penstock.SlowPeerError:
                pass
            return None

    most = 0
    service = penstock.as_service(OweSome, codec="lines:max=1MiB")
    overload = OverloadConfig(write_total_bytes=budget)
    limits = Limits(write_max_bytes=8 * MIB)
    with serve(service, timeouts=NEVER, overload=overload, limits=limits) as server:
        honest = server.dial()
        opened.append(honest)
        for _ in range(peers):
            sock = dial(server.address, receive_buffer_bytes=4096)
            opened.append(sock)
            sock.sendall(b"go\n")
            assert b"ping\n" == tools.ask(honest)
            most = max(most, server.call(lambda: sum(conn.held_bytes for conn in server.server.connections)))
        found = []

        def all_are_found(it):
            found[:] = it.stats.closed.total(), len(it.connections) - 1
            return peers == sum(found)  # one that ends just now is in neither for a moment

        server.wait_until(all_are_found)
        ended, left = found
    figure(
        f"T-37 {engine.label}: {peers} x 1 MiB owed against a budget of 4 MiB: {most / MIB:.1f} MiB held at most, "
        f"{ended} ended, {left} left, the one who reads answered {peers} of {peers}"
    )

    assert budget + peers * FREE_BYTES + 50 * KIB >= most
    assert 0 < ended < peers
    assert peers == ended + left


def test_a_window_that_stays_shut_ends_at_the_write_deadline(serve, opened, until, engine, figure):
    """T-38: under the hard limit it is the clock that decides, to the tick."""

    class OweLess(penstock.Handler):
        def on_message(self, conn, message):
            for _ in range(100):
                conn.post(b"x" * (64 * KIB - 1))

    clock = ManualClock()
    service = penstock.as_service(OweLess, codec="lines:max=1MiB")
    limits = Limits(write_max_bytes=64 * MIB)
    with serve(service, clock=clock, timeouts=NEVER.merged(write_s=30.0), limits=limits) as server:
        sock = dial(server.address, receive_buffer_bytes=4096)
        opened.append(sock)
        sock.sendall(b"go\n")
        server.wait_until(lambda it: server.record.of(penstock.EventName.READING_PAUSED))
        advance(server, clock, 29.999)
        before = len(server.server.connections)
        advance(server, clock, 0.001)
        reasons = server.reasons(1)
    figure(f"T-38 {engine.label}: a window that stays shut: there at 29.999 s, cut at 30.000 s")

    assert 1 == before
    assert ["write_timeout"] == reasons


def test_a_window_that_opens_by_a_few_bytes_ends_at_the_same_deadline(serve, opened, until, engine, figure):
    """T-38: five bytes a second of the smallest window there is are no progress: the deadline is where it was."""

    class OweLess(penstock.Handler):
        def on_message(self, conn, message):
            for _ in range(100):
                conn.post(b"x" * (64 * KIB - 1))

    clock = ManualClock()
    service = penstock.as_service(OweLess, codec="lines:max=1MiB")
    with serve(
        service, clock=clock, timeouts=NEVER.merged(write_s=30.0), limits=Limits(write_max_bytes=64 * MIB)
    ) as server:
        sock = dial(server.address, receive_buffer_bytes=1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 1)  # which kernels take for 1,152
        opened.append(sock)
        sock.sendall(b"go\n")
        server.wait_until(lambda it: server.record.of(penstock.EventName.READING_PAUSED))
        read = 0
        for _ in range(29):
            advance(server, clock, 1.0)
            read += len(sock.recv(5))
        advance(server, clock, 0.999)
        before = len(server.server.connections)
        advance(server, clock, 0.001)
        reasons = server.reasons(1)
    figure(f"T-38 {engine.label}: {read} bytes read in 29 s: there at 29.999 s, cut at 30.000 s")

    assert 1 == before
    assert ["write_timeout"] == reasons


def test_pipelined_requests_that_nobody_reads_the_answers_of_stop_being_read(serve, opened, until, engine, figure):
    """T-40: answers larger than questions do not pile up: above the high watermark the asker is not heard."""

    @penstock.on_message(codec="lines")
    def amplify(message):
        return b"y" * 1000

    with serve(amplify, timeouts=NEVER) as server:
        sock = dial(server.address, receive_buffer_bytes=4096)
        opened.append(sock)
        sock.settimeout(0.5)
        asked = 0
        try:
            while asked < 64 * MIB:
                asked += sock.send(b"?\n" * 32768)
        except TimeoutError:
            pass
        (conn,) = server.server.connections
        held = server.call(lambda: conn.held_bytes)
    figure(
        f"T-40 {engine.label}: {asked / MIB:.1f} MiB of two-byte questions accepted by both kernels, "
        f"{held / KIB:.0f} KiB of answers held"
    )

    assert 64 * MIB > asked
    assert Limits().write_max_bytes + Limits().read_bytes >= held
