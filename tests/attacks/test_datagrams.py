"""Floods of datagrams, lies about senders, ports that are closed: T-85 to T-88."""

import asyncio
import logging
import os
import random
import socket
import struct
import threading
from functools import partial

import pytest

import penstock
from penstock.config import GateConfig, OverloadConfig
from penstock.core.gate import Gate
from penstock.engines.loop.datagrams import MAX_HANDLED_AT_ONCE
from penstock.services import chargen
from penstock.telemetry.log import LogObserver
from penstock.testing.clock import ManualClock
from penstock.testing.peers import PATIENCE_S
from penstock.units import Rate

UDP = "udp://127.0.0.1:0"
FLOOD = 1_000  # datagrams, more than the kernel holds of one socket with `FEW_BYTES`
FEW_BYTES = 64 * 1024
IPV6_CHECKSUM = 7  # from linux/in6.h: where in what is sent the kernel puts it


@penstock.on_message(codec="raw")
def echo(message):
    return message


@penstock.on_message(codec="raw")
def swallow(message):
    return None


def peer(server, opened):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", server.port))
    opened.append(sock)
    return sock


def accounted(server, total):
    """Wait until every datagram that was sent was handled, or counted as dropped."""
    server.wait_until(lambda it: it.stats.datagrams + it.stats.datagrams_dropped.total() >= total)
    return server.server.stats.datagrams, dict(server.server.stats.datagrams_dropped)


@pytest.mark.parametrize("size", [0, 1, 65_507])
def test_of_a_flood_every_datagram_is_handled_or_counted(serve, opened, size, engine, figure):
    """T-85, T-86: received and dropped, by us and by the kernel, add up to what was sent; the next is answered."""
    total = 100_000 if size < 2 else 1_000
    with serve(swallow, bind=UDP) as server:
        sock = peer(server, opened)
        server.call(server.server.suspend)  # so that the kernel's queue surely overflows
        for _ in range(total // 2):
            sock.send(bytes(size))
        server.call(server.server.resume)
        for _ in range(total // 2):
            sock.send(bytes(size))
        handled, dropped = accounted(server, total)
    figure(f"T-86 {engine.label}: {total} datagrams of {size} bytes: {handled} handled, dropped {dropped}")

    assert total == handled + sum(dropped.values())
    assert {"kernel_queue_full"} == set(dropped)


def test_what_the_kernel_dropped_is_at_most_one_line_a_second(serve, opened, monkeypatch, caplog):
    """T-86: a line says how many were dropped since the one before; those of its own second wait for the next."""
    clock, sent, floods = ManualClock(), 0, []
    monkeypatch.setattr("penstock.server.server.LogObserver", partial(LogObserver, time=clock.time))
    overload = OverloadConfig(receive_buffer_bytes=FEW_BYTES)
    with serve(swallow, bind=UDP, overload=overload) as server, caplog.at_level(logging.WARNING, logger="penstock"):
        sock = peer(server, opened)

        def dropped():
            return [event.count for event in server.record.of(penstock.EventName.DATAGRAM_DROPPED)]

        for wait_s in (0.0, 0.5, 0.5):
            clock.advance(wait_s)
            server.call(server.server.suspend)
            for _ in range(FLOOD):
                sock.send(b"x")
            server.call(server.server.resume)
            sent += FLOOD
            server.wait_until(lambda it, sent=sent: it.stats.datagrams + sum(dropped()) >= sent)
            floods.append(dropped()[sum(map(len, floods)) :])
        lines = [record.getMessage().partition(" datagram")[0] for record in caplog.records]
    first, second, third = floods
    told = [first[0], sum(first[1:]) + sum(second) + third[0]]

    assert second
    assert [f"the kernel dropped {count}" for count in told] == [line for line in lines if "kernel" in line]


@pytest.mark.engines("pure", "uvloop", "native")
def test_of_what_coroutines_handle_256_are_at_work_at_once(serve, opened, engine, figure):
    """The rest is left with the kernel, which has a limit for it, and is answered when those before it are."""
    total, at_work, most = 300, 0, 0
    full, go = threading.Event(), asyncio.Event()

    @penstock.on_message(codec="raw")
    async def slow(message):
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        if at_work == MAX_HANDLED_AT_ONCE:
            full.set()
        await go.wait()
        at_work -= 1
        return message

    with serve(slow, bind=UDP) as server:
        sock = peer(server, opened)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # the answers come all at once
        questions = [number.to_bytes(2, "big") for number in range(total)]
        for question in questions[:MAX_HANDLED_AT_ONCE]:
            sock.send(question)
        assert full.wait(20)
        for question in questions[MAX_HANDLED_AT_ONCE:]:
            sock.send(question)
        server.call(go.set)
        answers = sorted(sock.recv(100) for _ in range(total))
    figure(f"datagrams to coroutines, {engine.label}: {total} sent, {most} at work at once, {len(answers)} answered")

    assert MAX_HANDLED_AT_ONCE == most
    assert questions == answers


@pytest.mark.parametrize("ends", ["drain", "stop"])
def test_what_the_kernel_has_when_the_server_ends_is_counted_too(serve, opened, ends, engine, figure):
    """T-86: nobody will answer it, and the sum is exact to the end: of a queue that overflowed, and once more."""
    total = 10_000
    with serve(swallow, bind=UDP) as server:
        sock = peer(server, opened)
        for _ in range(10):
            sock.send(b"x")
        accounted(server, 10)
        server.call(server.server.suspend)
        for _ in range(total - 10):
            sock.send(b"x")
        server.wait(getattr(server.server, ends)())
    handled, dropped = server.server.stats.datagrams, dict(server.server.stats.datagrams_dropped)
    figure(f"T-86 {engine.label}: {total} datagrams, then {ends}: {handled} handled, dropped {dropped}")

    assert total == handled + sum(dropped.values())
    assert {"kernel_queue_full", "stopped"} == set(dropped)


@pytest.mark.parametrize("size", [65_536, 65_537, 100_000])
def test_half_a_datagram_is_none(serve, opened, tmp_path, size, engine, figure):
    """T-85: what is longer than a datagram may be is counted and dropped, not cut and handled; UDP knows none such."""
    with serve(echo, bind=f"unix+dgram:{tmp_path}/s") as server:
        sock = server.dial()
        opened.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
        sock.send(bytes(size))
        _, dropped = accounted(server, 1)
        answer = len(sock.recv(200_000)) if not dropped else None
        sock.send(b"ping")
        later = sock.recv(100)
    figure(f"T-85 {engine.label}: a datagram of {size} bytes: {f'answered with {answer}' if answer else dropped}")

    assert (size if size <= 65_536 else None) == answer
    assert ({} if size <= 65_536 else {"too_large": 1}) == dropped
    assert b"ping" == later


@pytest.mark.parametrize("total", [300, pytest.param(20_000, marks=pytest.mark.full)])
def test_answers_to_ports_that_closed_do_not_end_the_listener(serve, opened, total, engine, figure):
    """T-87: every answer to them brings an ICMP message that nobody listens there; others are answered meanwhile."""
    others = total // 10
    with serve(echo, bind=UDP) as server:
        sock = peer(server, opened)
        answers = 0
        for number in range(total):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
                gone.bind(("127.0.0.88", 0))  # where no server of a test beside this one gets the answer by its port
                gone.sendto(b"x", ("127.0.0.1", server.port))
            if number % 10 == 0:
                sock.send(b"ping")
                answers += sock.recv(100) == b"ping"
        handled, dropped = accounted(server, total + others)
    figure(f"T-87 {engine.label}: {total} senders left before the answer: {answers} of {others} others answered")

    assert others == answers
    assert (total + others, {}) == (handled, dropped)


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
def test_a_refusal_that_the_socket_is_told_of_ends_nothing(start, strace, engine, figure):
    """T-87: where IP_RECVERR is on, or on other systems, what one peer refused is an error of the one socket of all."""
    calls = "recvmmsg" if engine.name == "native" else "recvfrom"
    under = strace("-e", f"trace={calls}", "-e", f"inject={calls}:error=ECONNREFUSED:when=2+3")
    server = start(bind=UDP, under=under)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.connect(server.address)
        answers = 0
        for _ in range(60):
            sock.send(b"ping")
            answers += sock.recv(100) == b"ping"
    figure(f"T-87 {engine.label}: every third read is told of a port unreachable: {answers} of 60 answered")

    assert 60 == answers
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(("question", "largest"), [(0, 56), (100, 356)])
def test_no_answer_to_another_machine_is_larger_than_three_times_its_question(
    serve, opened, monkeypatch, question, largest, engine, figure
):
    """T-88: who forges a sender's address gains nothing by it. Peers here are taken for peers elsewhere."""
    monkeypatch.setattr(Gate, "is_local", staticmethod(lambda peer: False))

    @penstock.on_message(codec="raw")
    def answer(message):
        return bytes(size)

    with serve(answer, bind=UDP) as server:
        sock = peer(server, opened)
        size = largest
        sock.send(bytes(question))
        received = len(sock.recv(65536))
        size = largest + 1
        sock.send(bytes(question))
        server.wait_until(lambda it: it.stats.datagrams_dropped == {"amplification": 1})
    figure(
        f"T-88 {engine.label}: a question of {question} bytes is answered with {largest} bytes, not with {largest + 1}"
    )

    assert largest == received


@pytest.mark.parametrize("question", [0, 1, 100, 1400])
def test_many_answers_together_are_no_larger_either(serve, opened, monkeypatch, question, engine, figure):
    """T-88: posted one after the other and returned at the end, headers included, until nothing more is let out."""
    monkeypatch.setattr(Gate, "is_local", staticmethod(lambda peer: False))
    sizes = random.Random(question).choices(range(300), k=200)
    taken = []

    @penstock.on_message(codec="raw")
    def answer(conn, message):
        taken.extend(size for size in sizes if conn.try_send(bytes(size)))
        return bytes(65_000)

    with serve(answer, bind=UDP) as server:
        sock = peer(server, opened)
        sock.send(bytes(question))
        server.wait_until(lambda it: it.stats.datagrams == 1)
        dropped = server.server.stats.datagrams_dropped["amplification"]
        received = [len(sock.recv(65536)) for _ in range(len(sizes) + 1 - dropped)]
    out, limit = sum(28 + size for size in received), 3 * (28 + question)
    figure(f"T-88 {engine.label}: {question} bytes, {len(received)} of 201 answers: {out} bytes of {limit} in all")

    assert taken == received
    assert out <= limit
    assert out + 28 + max(sizes) > limit


@pytest.mark.engines("pure", "uvloop", "native")  # it runs on a loop
def test_the_classic_amplifiers_answer_on_this_machine_and_not_beyond(serve, opened, monkeypatch):
    """chargen's 512 bytes for nothing were the weapon of whole campaigns; here they are for those who are here."""
    with serve(chargen.make(characters=lambda: 512), bind=UDP) as server:
        sock = peer(server, opened)
        sock.send(b"")
        here = len(sock.recv(65536))
        monkeypatch.setattr(Gate, "is_local", staticmethod(lambda peer: False))
        sock.send(b"")
        server.wait_until(lambda it: it.stats.datagrams_dropped == {"amplification": 1})

    assert here > 500


def own_address(family):
    """An address of this machine that is no loopback address; None where it has none."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:  # sends nothing: it asks for a route to addresses of documentation
            sock.connect(("198.51.100.1", 9) if family == socket.AF_INET else ("2001:db8::1", 9))
        except OSError:
            return None
        return sock.getsockname()[0]


def forge(opened, source, destination):
    """Send ``ping`` from an address that somebody else has; skip where this user may not."""
    family = socket.AF_INET6 if ":" in destination[0] else socket.AF_INET
    try:
        raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("this user may not forge datagrams")
    opened.append(raw)
    raw.bind((source[0], 0))
    if family == socket.AF_INET6:
        raw.setsockopt(socket.IPPROTO_IPV6, IPV6_CHECKSUM, 6)
    raw.sendto(struct.pack("!HHHH4s", source[1], destination[1], 12, 0, b"ping"), (destination[0], 0))


# Where a server listens, whom a datagram says it is from and where it goes: hosts and which of the listeners' ports.
OTHER4, OTHER6 = (own_address(family) for family in (socket.AF_INET, socket.AF_INET6))
LOOPS = {
    "itself": (["127.0.0.1:0"], ("127.0.0.1", 0), "127.0.0.1"),
    "itself, IPv6": (["[::1]:0"], ("::1", 0), "::1"),
    "two ports": (["127.0.0.1:0", "127.0.0.1:0"], ("127.0.0.1", 1), "127.0.0.1"),
    "two addresses": (["two.test:0"], ("127.0.0.2", 1), "127.0.0.1"),
    "every address": (["0.0.0.0:0"], ("127.0.0.1", 0), "127.0.0.1"),
    "every address, from another": (["0.0.0.0:0"], ("127.0.0.5", 0), "127.0.0.1"),
    "every address, from another interface": (["0.0.0.0:0"], (OTHER4, 0), "127.0.0.1"),
    "both families": (["*:0"], ("127.0.0.5", 0), "127.0.0.1"),
    "both families, IPv6": (["*:0"], ("::1", 0), "::1"),
    "both families, from another interface": (["*:0"], (OTHER6, 0), "::1"),
    "every address and one": (["0.0.0.0:0", "127.0.0.1:0"], ("127.0.0.5", 0), "127.0.0.1"),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_does_not_answer_itself(serve, opened, monkeypatch, loop, engine):
    """T-88: one forged datagram, from any address that it listens on, would have it talk to itself for ever."""
    binds, (source, listener), destination = LOOPS[loop]
    if source is None:
        pytest.skip("this machine has no other address")
    getaddrinfo = socket.getaddrinfo

    def resolve(host, port, *args, **options):
        hosts = ("127.0.0.1", "127.0.0.2") if host == "two.test" else (host,)
        return [found for each in hosts for found in getaddrinfo(each, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with serve(echo, bind=[f"udp://{bind}" for bind in binds]) as server:
        ports = [int(address.rpartition(":")[2]) for address in server.addresses]
        target = (destination, ports[-1] if loop == "every address and one" else ports[0])
        forge(opened, (source, ports[listener]), target)
        server.wait_until(lambda it: it.stats.datagrams_dropped.total() + it.stats.datagrams >= 1)
        sock = socket.socket(socket.AF_INET6 if ":" in destination else socket.AF_INET, socket.SOCK_DGRAM)
        opened.append(sock)
        sock.settimeout(PATIENCE_S)
        sock.connect(target)
        sock.send(b"ping")
        answer = sock.recv(100)

        assert b"ping" == answer
        assert (1, {"forged": 1}) == accounted(server, 2)


def test_what_is_from_port_0_is_nobodys(serve, opened, engine):
    """T-88: nobody can be answered there."""
    with serve(echo, bind=UDP) as server:
        forge(opened, ("127.0.0.1", 0), ("127.0.0.1", server.port))

        assert (0, {"forged": 1}) == accounted(server, 1)


def test_who_has_a_port_of_the_servers_at_another_address_is_served(serve, opened, engine):
    """A peer on the same machine that listens where the server does not."""
    with serve(echo, bind=UDP) as server:
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.append(other)
        other.settimeout(PATIENCE_S)
        other.bind(("127.0.0.5", server.port))
        other.sendto(b"ping", ("127.0.0.1", server.port))

        assert b"ping" == other.recv(100)


@pytest.mark.parametrize("port", [7, 13, 17, 19, 37])
def test_services_that_answer_whatever_comes_are_not_answered(serve, opened, port, engine, figure):
    """T-88: one forged datagram would have two of them talk to each other for ever."""
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.append(other)
    try:
        # An address of this process's own: other tests run beside it.
        other.bind((f"127.7.{os.getpid() >> 8 & 255}.{os.getpid() & 255}", port))
    except PermissionError:
        pytest.skip("this user may not bind the ports of services")
    with serve(echo, bind=UDP) as server:
        other.sendto(b"ping", ("127.0.0.1", server.port))
        server.wait_until(lambda it: it.stats.datagrams_dropped == {"reflector": 1})
        sock = peer(server, opened)
        sock.send(b"ping")

        assert b"ping" == sock.recv(100)
        assert (1, {"reflector": 1}) == accounted(server, 2)


def test_two_servers_that_answer_each_other_are_ended_by_the_rate(serve, opened, engine, figure):
    """T-88: on any other port nothing tells a server from a client but that it never stops."""
    overload = OverloadConfig(datagram_rate_per_peer=Rate(20, 3600.0))
    with serve(echo, bind=UDP, overload=overload) as server, serve(echo, bind=UDP, overload=overload) as other:
        forge(opened, ("127.0.0.1", other.port), ("127.0.0.1", server.port))
        pair = (server, other)
        while not any(it.call(lambda it=it: it.server.stats.datagrams_dropped.total()) for it in pair):
            pass
        handled = sum(it.call(lambda it=it: it.server.stats.datagrams) for it in pair)
    figure(f"T-88 {engine.label}: two echo servers set on each other at 20/h: over after {handled} datagrams")

    assert 40 >= handled


def test_one_sender_is_held_to_its_rate_and_another_is_not(serve, opened, engine, figure):
    """A bucket for each address: five at once, then one every two seconds, to the tick."""
    clock = ManualClock()
    overload = OverloadConfig(datagram_rate_per_peer=Rate(5, 10.0))
    with serve(swallow, bind=UDP, overload=overload, clock=clock) as server:
        sock = peer(server, opened)
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.append(other)
        other.bind(("127.0.0.7", 0))
        for _ in range(20):
            sock.send(b"x")
        other.sendto(b"x", ("127.0.0.1", server.port))
        handled, dropped = accounted(server, 21)
        server.call(lambda: clock.advance(2.0))
        sock.send(b"x")
        sock.send(b"x")
        later, _ = accounted(server, 23)
    figure(f"T-86 {engine.label}: 20 datagrams at 5 in 10 s: {handled - 1} handled, {dropped}; 1 more after 2 s")

    assert (6, {"peer_rate": 15}) == (handled, dropped)
    assert 7 == later


def test_networks_hold_for_datagrams_too(serve, opened):
    """One list for every transport."""
    with serve(echo, bind=UDP, gate=GateConfig(deny=("127.0.0.7",))) as server:
        sock = peer(server, opened)
        denied = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.append(denied)
        denied.bind(("127.0.0.7", 0))
        denied.sendto(b"x", ("127.0.0.1", server.port))
        server.wait_until(lambda it: it.stats.datagrams_dropped == {"denied": 1})
        sock.send(b"ping")

        assert b"ping" == sock.recv(100)
