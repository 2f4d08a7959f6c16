"""Every server of the bench is an echo: exact bytes, whatever way the network cuts them."""

import socket
import ssl

import pytest

from bench import build, contestants, machine
from bench.build import UnavailableError
from bench.contestants import Interpreters
from bench.process import Server
from bench.scenarios import SCENARIOS

CORE = machine.choose_cores().server
MESSAGES = [b"one", b"", b"three", b"x" * 3000]

WIRES = {
    "lines": b"".join(message + b"\n" for message in MESSAGES),
    "raw": b"".join(MESSAGES),
    "length-prefixed": b"".join(len(message).to_bytes(4, "big") + message for message in MESSAGES),
    "resp": b"".join(b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (len(message), message) for message in MESSAGES),
}
REPLIES = {**WIRES, "resp": b"".join(b"$%d\r\n%b\r\n" % (len(message), message) for message in MESSAGES)}

OVER_TLS_ALONE = ("c-tls-raw", "c-tls")
CASES = [
    (contestant, framing)
    for contestant in contestants.CONTESTANTS
    if contestant.key not in OVER_TLS_ALONE
    for framing in WIRES
    if framing in contestant.framings or ("any" in contestant.framings and framing == "raw")
]


def exchange(port: int, wire: bytes, reply_bytes: int, cut: int) -> bytes:
    """Send ``wire`` in pieces of ``cut`` bytes, await the replies, send EOF; return all that comes until EOF."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(wire), cut):
            client.sendall(wire[start : start + cut])
        # Not every server answers what is pending when EOF comes (Twisted's does not), and no load asks that of one.
        while len(got) < reply_bytes and (data := client.recv(65536)):
            got += data
        client.shutdown(socket.SHUT_WR)
        return got + b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.full  # more than a hundred processes: make bench-smoke
@pytest.mark.parametrize(("contestant", "framing"), CASES, ids=[f"{c.key}-{framing}" for c, framing in CASES])
def test_it_sends_back_what_came(contestant, framing):
    """At once, byte by byte and in odd pieces; and it answers EOF with EOF."""
    try:
        with Server(contestant.command(Interpreters(), framing), CORE, contestant.environment) as server:
            got = [exchange(server.port, WIRES[framing], len(REPLIES[framing]), cut) for cut in (1, 7, 10_000)]
    except UnavailableError as reason:
        pytest.skip(str(reason))

    assert [REPLIES[framing]] * 3 == got


CIPHERED = sorted({key for scenario in SCENARIOS if scenario.tls for key in scenario.contestants})


@pytest.mark.full
@pytest.mark.parametrize("key", CIPHERED)
def test_over_tls_it_sends_back_what_came(key):
    """In the one version and the one cipher that all are measured with, a ticket being there to resume with."""
    contestant = contestants.BY_KEY[key]
    context = ssl.create_default_context(cafile=str(build.certificate()))
    wire = WIRES["lines"]
    got = []
    try:
        command = [*contestant.command(Interpreters(), "lines"), "--tls-cert", build.certificate()]
        with Server(command, CORE, contestant.environment) as server:
            session = None
            for _ in range(2):
                with (
                    socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw,
                    context.wrap_socket(raw, server_hostname="localhost", session=session) as client,
                ):
                    client.sendall(wire)
                    echoed = b""
                    while len(echoed) < len(wire) and (data := client.recv(65536)):
                        echoed += data
                    got.append((echoed, client.version(), client.cipher()[0], client.session_reused))
                    session = client.session
    except UnavailableError as reason:
        pytest.skip(str(reason))

    assert [(wire, "TLSv1.3", "TLS_AES_256_GCM_SHA384", resumed) for resumed in (False, True)] == got


def test_a_contestant_says_what_it_lacks():
    """A framing it does not have, a distribution that is not installed: a reason, before anything is started."""
    threads = contestants.BY_KEY["threads"]
    with pytest.raises(UnavailableError, match="has no raw framing"):
        threads.command(Interpreters(), "raw")
    absent = contestants.Contestant("absent", "Absent", threads.argv, distribution="no-such-distribution")

    with pytest.raises(UnavailableError, match="no-such-distribution is not installed"):
        absent.command(Interpreters(), "lines")
