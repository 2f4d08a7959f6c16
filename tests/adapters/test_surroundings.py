"""What a server has is around every kind of foreign handler: TLS, the PROXY protocol, the gate, deadlines, draining.

Workers are in tests/workers/test_foreign.py.
"""

import pytest

from penstock.adapters.kinds import KINDS
from penstock.address.networks import AccessList
from penstock.core.events import EventName
from penstock.testing.certificates import server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.clock import ManualClock
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_to_end

from .shouts import DATAGRAMS, STREAMS, says, service

pytestmark = pytest.mark.uncipherable("it speaks TLS itself")

of_coroutines = pytest.mark.parametrize("name", [name for name in STREAMS if not STREAMS[name][2]])
of_threads = pytest.mark.parametrize("name", [name for name in STREAMS if STREAMS[name][2]])


@pytest.mark.engines(*LOOPS)
@of_coroutines
def test_what_is_a_coroutine_has_all_of_a_server_around_it(serve, engine, name):
    """As the one below says."""
    _is_surrounded(serve, name)


@pytest.mark.engines("blocking")
@of_threads
def test_what_has_a_thread_has_all_of_a_server_around_it(serve, engine, name):
    """One peer comes by a proxy and TLS, a second one from its host is one too many, and one by itself says nothing."""
    _is_surrounded(serve, name)


def _is_surrounded(serve, name):
    clock = ManualClock()
    with serve(
        service(STREAMS, name),
        bind=["tcp://127.0.0.1:0?proxy=off", "tls://127.0.0.1:0"],
        tls_cert=[server_certificate()],
        proxy_from=["127.0.0.1"],
        max_per_peer=1,
        timeout_first_message=10.0,
        timeout_idle=None,
        clock=clock,
    ) as server:
        with CipheredSocket(_proxied(server, "192.0.2.7")) as peer:
            assert says(name, "hello", "192.0.2.7") == _ask(peer, "hello")

            with _proxied(server, "192.0.2.7") as second:
                assert b"" == _rest(second)
            assert ["refused"] == list(server.reasons(1))
            assert ["per_peer"] == [str(event.reason) for event in server.record.of(EventName.REFUSED)]

            with server.dial(0) as silent:
                server.wait_until(lambda server: _advance(clock) and server.stats.closed.total() == 2)
                assert b"" == read_to_end(silent)
                assert ["refused", "first_message_timeout"] == list(server.reasons(2))

            assert says(name, "again", "192.0.2.7") == _ask(peer, "again")
            server.call(server.server.begin_drain)
            assert b"" == read_to_end(peer)
            *_, last = server.reasons(3)
            assert last in ("drained", "done")  # it may have closed by itself when it met the end


def _advance(clock):
    """Move time on, each time that one asks: a program is not waiting for its peer before it runs."""
    clock.advance(10.0)
    return True


def _proxied(server, host):
    """Connect as a proxy for that host; TLS comes next."""
    peer = server.dial(1)
    peer.sendall(f"PROXY TCP4 {host} 192.0.2.1 51234 443\r\n".encode())
    return peer


def _ask(peer, line):
    """Send a line; return the one that answers it."""
    peer.sendall(line.encode() + b"\n")
    received = b""
    while not received.endswith(b"\n") and (data := peer.recv(100)):
        received += data
    return received.decode().rstrip("\n")


def _rest(peer):
    try:
        return peer.recv(100)
    except ConnectionResetError:
        return b""


@pytest.mark.engines(*LOOPS)
@pytest.mark.parametrize("name", ["datagram-protocol", "filter"])
def test_datagrams_of_coroutines_have_a_gate_around_them(serve, engine, name):
    """As the one below says."""
    _is_judged(serve, name)


@pytest.mark.engines("blocking")
def test_datagrams_of_threads_have_a_gate_around_them(serve, engine):
    """Who is denied is not heard."""
    _is_judged(serve, "datagram-handler")


def _is_judged(serve, name):
    with serve(service(DATAGRAMS, name), bind="udp://127.0.0.1:0", deny=["127.0.0.1"]) as server, server.dial() as peer:
        peer.send(b"denied")
        server.wait_until(lambda server: server.stats.datagrams_dropped.total() == 1)
        server.call(lambda: server.server.gate.set(access=AccessList()))
        peer.send(b"hello")

        assert says(name, "hello", "127.0.0.1") == peer.recv(100).decode().rstrip("\n")


def test_every_kind_is_tried():
    """So that one that is added is. Twisted may be missing."""
    tried = {kind for _, kind, _ in (*STREAMS.values(), *DATAGRAMS.values())}

    assert {kind.name for kind in KINDS} == tried | {"twisted"}
