"""Attacks on handshakes: each ends for one reason and holds little, and the next peer is served."""

import asyncio
import contextlib
import gc
import itertools
import os
import random
import resource
import select
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

import pytest

import penstock
from penstock.config import GateConfig, Timeouts
from penstock.core.law.tls import STEPS_PER_TURN
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.peers import PATIENCE_S, dial

pytest.importorskip("trustme")
pytestmark = pytest.mark.uncipherable("it speaks TLS already")

KIB = 1024
SPARE_DESCRIPTORS = 300


@penstock.on_message(codec="lines")
def upper(message):
    return message.upper()


@pytest.fixture
def serve_tls(serve):
    """Serve over TLS."""

    def start(**options):
        options.setdefault("gate", GateConfig(max_connections=None, max_per_peer=None, max_handshakes=None))
        options.setdefault("bind", "tls://127.0.0.1:0")
        return serve(upper, tls_cert=server_certificate(), **options)

    return start


def hello():
    """A ClientHello, as a client of this machine sends it."""
    outgoing = ssl.MemoryBIO()
    session = authority().client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def forget(server):
    """Drop what the test's own record keeps of connections, all of which have ended."""
    server.wait_connections(0)
    server.record.check(0)
    with server.record.lock:
        server.record.events.clear()


def is_served(server, before=b""):
    raw = dial(server.address)
    raw.sendall(before)
    with CipheredSocket(raw) as peer:
        peer.sendall(b"honest\n")
        return peer.recv(100) == b"HONEST\n"


def test_a_handshake_of_single_bytes_is_one_all_the_same(serve_tls):
    """Each in a segment of its own, in its time: the server waits for the rest, and hands nothing on before that."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = authority().client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with serve_tls() as server, dial(server.address) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

        def exchange(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    for byte in outgoing.read():
                        raw.sendall(bytes((byte,)))
                    incoming.write(raw.recv(65536))

        exchange(session.do_handshake)
        session.write(b"one\n")
        answer = exchange(lambda: session.read(100))

    assert b"ONE\n" == answer


@pytest.mark.parametrize("begins", ["after a ClientHello", "instead of it", "as a record of a handshake"])
def test_garbage_is_refused_and_holds_nothing(serve_tls, begins):
    """Whatever follows: one reason, an end, and the next peer is served. The bytes come from a seed."""
    chance = random.Random(17)
    count = 20
    with serve_tls() as server:
        for _ in range(count):
            noise = chance.randbytes(2000)
            data = {
                "after a ClientHello": hello() + noise,
                "instead of it": b"\x16\x03\x01" + noise,
                "as a record of a handshake": b"\x16\x03\x01" + struct.pack("!H", len(noise)) + b"\x01" + noise[1:],
            }[begins]
            with dial(server.address) as raw:
                raw.sendall(data)
                raw.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while raw.recv(65536):
                        pass
        served = is_served(server)
        reasons = server.reasons(count + 1)

    assert served
    assert {"tls_handshake"} == set(reasons[:count])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.full)])
def test_what_comes_in_clear_is_never_a_message_however_the_peer_leaves(serve_tls, count):
    """As CVE-2023-40217: text before, in and behind what begins a handshake, and an end in the window after it."""
    greeting = hello()
    with serve_tls() as server:
        for number in range(count):
            with contextlib.suppress(ConnectionError), dial(server.address) as raw:
                raw.sendall((b"evil\n", greeting + b"evil\n", greeting[:-40] + b"evil\n" * 8)[number % 3])
                if number % 2:
                    raw.shutdown(socket.SHUT_WR)
        server.wait_until(lambda running: running.stats.closed.total() == count)
        messages = server.call(lambda: server.server.messages_in)
        served = is_served(server)
        reasons = set(server.reasons(count + 1)[:count])

    assert (0, True) == (messages, served)
    assert reasons <= {"not_tls", "tls_handshake", "reset", "peer_closed"}


def test_a_certificate_without_end_is_refused(serve_tls, tmp_path):
    """A client's chain of more than OpenSSL takes (100 KiB): the handshake fails, and nothing of it is kept."""
    mine = Path(authority().issue("endless", "c@example.org")).read_text()
    endless = tmp_path / "endless.pem"
    endless.write_text(mine + Path(authority().ca).read_text() * 400)
    with serve_tls(tls_client_ca=authority().ca, tls_client_auth="optional") as server:
        with (
            contextlib.suppress(OSError),
            CipheredSocket(dial(server.address), authority().client(str(endless))) as peer,
        ):
            peer.sendall(b"one\n")
            peer.recv(100)
        served = is_served(server)
        reasons = server.reasons(2)

    assert served
    assert "tls_handshake" == reasons[0]


@pytest.mark.parametrize("count", [100, pytest.param(3000, marks=pytest.mark.full)])
def test_a_flood_of_handshakes_leaves_the_next_one_its_place(serve_tls, count, engine, figure):
    """T-46: peers that send a ClientHello, have the server answer it, and are gone; none of them keeps a place."""
    greeting = hello()
    with serve_tls(gate=GateConfig(max_handshakes=10, max_per_peer=None)) as server:
        began = time.process_time()
        for _ in range(count):
            with contextlib.suppress(ConnectionError), dial(server.address) as raw:
                raw.sendall(greeting)
                raw.recv(1)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        cost_ms = (time.process_time() - began) * 1000 / count
        server.wait_until(lambda running: running.gate.handshakes == 0)
        served = is_served(server)
        reasons = server.reasons(1)
    figure(f"T-46 {engine.label}: {count} handshakes begun and left: {cost_ms:.2f} ms of CPU for each, both ends")

    assert served
    assert set(reasons) <= {"tls_handshake", "peer_closed", "reset"}


# What a peer has sent before, what it sends while the loop is at something else, and how that is served.
PROXIED = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n"
AT_ONCE = {
    "the last byte": (1, b"", {}),
    "all of it behind a proxy's header": (0, PROXIED, {"proxy_from": "127.0.0.1"}),
    "all of it where clear text is spoken, too": (0, b"", {"bind": "tcp+tls://127.0.0.1:0"}),
}


@pytest.mark.engines("pure", "native", "attached")
@pytest.mark.parametrize(("held_bytes", "before", "options"), AT_ONCE.values(), ids=AT_ONCE)
def test_what_ends_handshakes_at_once_does_not_hold_a_turn_of_the_loop(
    serve_tls, opened, engine, figure, held_bytes, before, options
):
    """T-46, its quota: peers hold a ClientHello back, or its end, and send it while the loop is at something else.

    Each turn signs for a few of them; what else there is comes in between.
    """
    count = 8 * STEPS_PER_TURN
    greeting = before + hello()
    split = len(greeting) - held_bytes if held_bytes else 0
    answered, at_work, go_on = [], threading.Event(), threading.Event()
    readable = select.poll()

    def hold():
        at_work.set()
        go_on.wait(PATIENCE_S)

    with serve_tls(timeouts=Timeouts(handshake_s=PATIENCE_S, drain_s=10.0), **options) as server:
        for _ in range(count):
            opened.append(raw := dial(server.address))
            raw.sendall(greeting[:split])
            readable.register(raw, select.POLLIN)
        server.wait_until(lambda running: running.gate.handshakes == count)
        loop = server.call(asyncio.get_running_loop)
        loop.call_soon_threadsafe(hold)
        assert at_work.wait(PATIENCE_S)
        for raw in opened:
            raw.sendall(greeting[split:])

        def look():
            answered.append(len(readable.poll(0)))
            if answered[-1] < count:
                loop.call_soon(look)

        loop.call_soon_threadsafe(look)
        go_on.set()
        server.wait_until(lambda _: bool(answered) and answered[-1] == count)
        for raw in opened:
            raw.close()
        opened.clear()
        served = is_served(server, before)
    most = max(after - before for before, after in itertools.pairwise([0, *answered]))
    figure(f"T-46 {engine.label}: {count} handshakes answered in {len(answered)} turns, at most {most} in one")

    assert served
    # Not `most`: the kernel may deliver the answers of two turns at once.
    assert len(answered) >= count // STEPS_PER_TURN


class Peer:
    """A client that takes each step of its handshake by itself, up to the last flight, which it keeps."""

    def __init__(self, address):
        self.raw = dial(address)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = authority().client().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def shake(self):
        """Go on until only its own last flight is left, and return that."""
        while True:
            try:
                self.session.do_handshake()
            except ssl.SSLWantReadError:
                self.raw.sendall(self.outgoing.read())
                self.incoming.write(self.raw.recv(1 << 16))
            else:
                return self.outgoing.read()

    def ask(self, line):
        """Return the reply, or what came instead."""
        try:
            self.session.write(line)
            self.raw.sendall(self.outgoing.read())
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    return self.session.read(100)
                received = self.raw.recv(1 << 16)
                if not received:
                    return received
                self.incoming.write(received)
        except OSError as error:
            return error


@pytest.mark.engines("pure", "native", "attached")
def test_peers_whose_handshake_was_whole_in_time_are_served_however_many_there_are(serve_tls, opened, engine):
    """Law 11, beside the quota: the loop is at something else when their last flights come and their time ends."""
    count = 3 * STEPS_PER_TURN
    at_work, go_on = threading.Event(), threading.Event()
    with serve_tls(timeouts=Timeouts(handshake_s=PATIENCE_S, drain_s=10.0)) as server:
        peers = [Peer(server.address) for _ in range(count)]
        opened.extend(peer.raw for peer in peers)
        flights = [peer.shake() for peer in peers]
        server.wait_until(lambda running: running.gate.handshakes == count)

        def hold():
            at_work.set()
            go_on.wait(PATIENCE_S)
            for conn in server.server.connections:
                conn.set_timeouts(handshake_s=0.001)
            time.sleep(0.05)  # more than what a timer of any engine is rounded to

        loop = server.call(asyncio.get_running_loop)
        loop.call_soon_threadsafe(hold)
        assert at_work.wait(PATIENCE_S)
        for peer, flight in zip(peers, flights, strict=True):
            peer.raw.sendall(flight)
        go_on.set()
        replies = [peer.ask(b"in time\n") for peer in peers]

    assert [b"IN TIME\n"] * count == replies


def test_handshakes_that_do_not_end_keep_no_more_places_than_there_are(serve_tls, opened):
    """Those that were first are reset at their deadline; then others come in."""
    timeouts = Timeouts(handshake_s=0.5, drain_s=10.0)
    with serve_tls(gate=GateConfig(max_handshakes=5, max_per_peer=None), timeouts=timeouts) as server:
        for _ in range(5):
            opened.append(raw := dial(server.address))
            raw.sendall(hello()[:-1])
        server.wait_until(lambda running: running.gate.handshakes == 5)
        with pytest.raises(ConnectionResetError), dial(server.address) as late:
            late.recv(1)
        server.wait_until(lambda running: running.gate.handshakes == 0)
        served = is_served(server)
        reasons = server.reasons(6)

    assert served
    assert ["handshake_timeout"] * 5 == list(reasons[:5])


def rss_kib():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // KIB


@pytest.mark.engines("pure", "native")
@pytest.mark.parametrize("wanted", [200, pytest.param(10_000, marks=pytest.mark.full)])
def test_what_a_handshake_holds_that_does_not_end(serve_tls, opened, wanted, engine, figure):
    """T-45: as many as the descriptors allow, both ends in this process; the next peer is served beside them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        count = min(wanted, (hard - SPARE_DESCRIPTORS) // 2)
        greeting = hello()[:-1]
        timeouts = Timeouts(handshake_s=PATIENCE_S, drain_s=10.0)
        with serve_tls(timeouts=timeouts, backlog=4096) as server:
            before = rss_kib()
            for _ in range(count):
                opened.append(raw := dial(server.address))
                raw.sendall(greeting)
            server.wait_until(lambda running: running.gate.handshakes == count)
            held = (rss_kib() - before) / count
            served = is_served(server)
            for raw in opened:
                raw.close()
            opened.clear()
            server.wait_until(lambda running: running.gate.handshakes == 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    figure(
        f"T-45 {engine.label}: {count} half-open handshakes: {held:.1f} KiB for each, both ends of the socket included"
    )

    assert served
    assert held < 100


@pytest.mark.timeout(300)
@pytest.mark.engines("pure", "native")
@pytest.mark.parametrize("count", [60, pytest.param(20_000, marks=pytest.mark.full)])
def test_handshakes_with_certificates_of_clients_leave_nothing_behind(serve_tls, count, engine, figure):
    """T-52: after the first third, memory grows no more; both ends are in this process."""
    mine = authority().client(authority().issue("many", "c@example.org"))
    with serve_tls(tls_client_ca=authority().ca) as server:
        at = []
        for number in range(count):
            if number % 50 == 0:
                forget(server)
            if number in (count // 3, 2 * count // 3):
                at.append(rss_kib())
            with CipheredSocket(dial(server.address), mine) as peer:
                peer.sendall(b"one\n")
                assert b"ONE\n" == peer.recv(100)
        forget(server)
        at.append(rss_kib())
    each = (at[2] - at[1]) * KIB / (count / 3)
    figure(f"T-52 {engine.label}: {count} handshakes of certified clients: {each:.0f} bytes more for each at the end")

    assert at[2] - at[1] < 4 * KIB  # noise of the allocator; an SSL object that stays is some 20 KiB
