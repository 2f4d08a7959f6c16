"""What a peer may do with a socket beside sending bytes: urgent data, descriptors, half-closes, leaving too early."""

import array
import contextlib
import os
import random
import socket
import threading
from unittest.mock import ANY

import pytest

import penstock
from penstock.config import Timeouts
from penstock.testing.peers import read_to_end, reset

SEED = 20261121


@penstock.on_message(codec="lines")
def echo(message):
    return message


def test_urgent_data_is_data_or_nothing(serve, opened, tools, engine, figure):
    """MSG_OOB: no urgent byte wakes the server for ever, and the line after them is answered."""
    urgent = 2000
    with serve(echo) as server:
        sock = server.dial()
        opened.append(sock)
        for _ in range(urgent):
            sock.send(b"!", socket.MSG_OOB)
        sock.sendall(b"\n")
        answer = read_to_newline(sock)
        later = tools.ask(sock)
    figure(
        f"T-41 {engine.label}: {urgent} urgent bytes: {len(answer) - 1} of them were in the line, the next is answered"
    )

    assert answer.endswith(b"\n")
    assert urgent >= len(answer) - 1
    assert b"ping\n" == later


def read_to_newline(sock):
    """Read a line that has nothing after it."""
    received = b""
    while not received.endswith(b"\n"):
        received += sock.recv(65536)
    return received


@pytest.mark.parametrize("scheme", ["unix", "unix+seqpacket", "unix+dgram"])
def test_descriptors_that_nobody_asked_for_are_not_kept(serve, opened, tmp_path, scheme, engine, figure):
    """T-89: SCM_RIGHTS with every message; who receives without room for them has the kernel close them."""
    messages, each = 50, 20
    service = echo if scheme != "unix+dgram" else penstock.on_message(codec="raw")(lambda message: message)
    with serve(service, bind=f"{scheme}:{tmp_path}/s") as server:
        sock = server.dial()
        opened.append(sock)
        sock.sendall(b"x\n")
        assert b"x\n" == sock.recv(100)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(messages):
            with open(os.devnull) as file:
                rights = array.array("i", [file.fileno()] * each)
                sock.sendmsg([b"x\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            assert b"x\n" == sock.recv(100)
        after = len(os.listdir("/proc/self/fd"))
    figure(f"T-89 {engine.label} {scheme}: {messages * each} descriptors sent unasked, {after - before} kept")

    assert each > after - before  # the blocking engine prepares one for its next connection meanwhile


def test_a_storm_of_half_closes_is_answered_one_by_one(serve, engine, figure):
    """Send, shutdown, read to the end, a thousand times: each is answered whole, and each is one end."""
    total = 1000
    with serve(echo, access_log=False) as server:
        answers = []
        for _ in range(total):
            with server.dial() as sock:
                sock.sendall(b"a line\n" * 3)
                sock.shutdown(socket.SHUT_WR)
                answers.append(read_to_end(sock))
        reasons = server.reasons(total)
    figure(f"T-06 {engine.label}: {total} half-closes one after the other: {len(answers)} answered, all {reasons[0]}")

    assert [b"a line\n" * 3] * total == answers
    assert ["peer_closed"] * total == reasons


def test_who_leaves_before_being_accepted_is_one_end_or_none(serve, opened, tools, engine, figure):
    """Connections that were closed or reset in the backlog, with a line sent or without."""
    total = 300
    with serve(echo, access_log=False) as server:
        server.call(server.server.suspend)
        for index in range(total):
            sock = server.dial()
            if index % 2:
                sock.sendall(b"a line\n")
            if index % 3:
                reset(sock)
            else:
                sock.close()
        sock = server.dial()
        opened.append(sock)
        server.call(server.server.resume)
        answer = tools.ask(sock)
        server.wait_connections(1)
        stats = server.server.stats
        closed = dict(stats.closed)
    figure(f"T-41 {engine.label}: {total} left before accept(2): {stats.accepted - 1} accepted, ended as {closed}")

    assert b"ping\n" == answer
    assert stats.accepted - 1 == sum(closed.values()) <= total
    assert {"reset", "network", "peer_closed"} >= set(closed)


def test_resets_in_the_middle_of_a_large_reply(serve, engine, figure):
    """A peer that goes while megabytes are on their way to it is one end, whatever was queued for it is dropped."""
    total = 200
    service = penstock.on_message(codec="lines:max=1MiB")(lambda message: message * 400_000)
    with serve(service, access_log=False) as server:
        for _ in range(total):
            sock = server.dial(receive_buffer_bytes=4096)
            sock.sendall(b"x\nx\n")
            sock.recv(1000)
            reset(sock)
        reasons = server.reasons(total)
    figure(f"T-07 {engine.label}: {total} resets while 800 KB are on their way: {len(reasons)} x {reasons[0]}")

    assert ["reset"] * total == reasons


def test_a_reply_after_our_eof_is_the_handler_s_error(serve, opened, tools, engine, figure):
    """Lines that came together, the first of which made the handler end its direction: no reply follows the EOF."""

    class Ends(penstock.Handler):
        def on_message(self, conn, message):
            if message == b"eof":
                conn.send_eof()
                return None
            return message

    service = penstock.as_service(Ends, codec="lines")
    found = []
    for lines in (b"x\neof\ny\n", b"x\neof\ny\nz\n", b"eof\n" + b"y\n" * 100):
        with serve(service, fails=1, timeouts=Timeouts(linger_s=0.0, drain_s=10.0)) as server:
            sock = server.dial()
            opened.append(sock)
            sock.sendall(lines)
            found.append((read_to_end(sock), server.reasons(1), type(server.record.failures[0])))
    figure(f"T-06 {engine.label}: a reply after our EOF: {found[0][1][0]}, {found[0][2].__name__}")

    errors = (["handler_error"], penstock.ClosedError)
    assert [(b"x\n", *errors), (b"x\n", *errors), (b"", *errors)] == found


class Brawl:
    """Handlers that end, reset, half-close and post to each other while their own messages are being handled."""

    def __init__(self):
        self.lock = threading.Lock()
        self.members = {}
        self.raised = 0
        brawl = self

        class Member(penstock.Handler):
            def on_connect(self, conn):
                with brawl.lock:
                    brawl.members[conn.id] = conn

            def on_close(self, conn, reason):
                with brawl.lock:
                    del brawl.members[conn.id]

            def on_message(self, conn, message):
                with brawl.lock:
                    members = list(brawl.members.values())
                if message == b"raise":
                    with brawl.lock:
                        brawl.raised += 1
                    raise RuntimeError("on purpose")
                for member in members:
                    with contextlib.suppress(penstock.PenstockError):
                        if message == b"post":
                            member.post(b"z" * 1000)
                        elif message in (b"close", b"abort", b"send_eof"):
                            getattr(member, message.decode())()
                return message

        self.service = penstock.as_service(Member, codec="lines")


WORDS = [b"close\n", b"abort\n", b"send_eof\n", b"post\n", b"raise\n", b"hello\n"]


def test_handlers_that_end_each_other_while_they_are_called(serve, opened, tools, engine, figure):
    """Laws 2, 6 and 8 at once, at random and from twelve peers: every connection has one end, and the server lives."""
    threads, rounds = 12, 40
    brawl = Brawl()

    def attack(seed, server):
        chance = random.Random(seed)
        for _ in range(rounds):
            with contextlib.suppress(OSError):
                sock = server.dial()
                opened.append(sock)
                sock.sendall(b"".join(chance.choices(WORDS, k=chance.randrange(1, 40))))
                if chance.random() < 0.5:
                    sock.recv(1000)
                if chance.random() < 0.3:
                    reset(sock)
                else:
                    sock.close()

    with serve(brawl.service, fails=ANY, access_log=False) as server:
        record = server.record
        attackers = [threading.Thread(target=attack, args=(SEED + index, server)) for index in range(threads)]
        for thread in attackers:
            thread.start()
        for thread in attackers:
            thread.join()
        server.wait_connections(0)
        sock = server.dial()
        opened.append(sock)
        answer = tools.ask(sock)
        closed = dict(server.server.stats.closed)
    figure(f"T-41 {engine.label}: {threads * rounds} connections whose handlers end each other: {closed}")

    assert b"ping\n" == answer
    # And replies to a connection that another handler has ended meanwhile.
    others = [error for error in record.failures if not isinstance(error, penstock.ClosedError)]
    assert ["on purpose"] * brawl.raised == list(map(str, others))
