"""The load generator over TLS: it compares what was deciphered, and resumes where it is to."""

import contextlib
import ssl

import pytest

from bench import build
from bench.build import UnavailableError


@pytest.fixture(scope="module")
def certificate():
    """What servers show."""
    try:
        return build.certificate()
    except UnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def ciphered(threaded, certificate):
    """Start a server over TLS 1.3, whose lines are answered with ``reply(line, n)``; it notes who resumed."""

    def start(reply, *, tickets=2):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.num_tickets = tickets
        resumed = []

        def serve(connection, _number):
            with (
                contextlib.suppress(ssl.SSLError),  # the load has left
                context.wrap_socket(connection, server_side=True) as secured,
                secured.makefile("rb") as lines,
            ):
                resumed.append(secured.session_reused)
                for n, line in enumerate(lines):
                    secured.sendall(reply(line, n))

        return threaded(serve).port, resumed

    return start


@pytest.mark.parametrize(("depth", "size"), [(1, 31), (5, 10), (3, 70_000)])
def test_a_faithful_echo_is_counted_to_the_byte(load_tls, ciphered, depth, size):
    """However its messages lie in records."""
    port, _ = ciphered(lambda line, n: line)
    outcome = load_tls(port, "--tls", "full", "--connections", 3, "--depth", depth, "--size", size, "--messages", 60)

    assert (0, 60, 60 * (size + 1)) == (outcome.status, outcome.result["messages"], outcome.result["bytes"])


def test_a_wrong_byte_is_found(load_tls, ciphered):
    """In what was deciphered."""
    port, _ = ciphered(lambda line, n: line.replace(b"0:2 ", b"0;2 "))
    outcome = load_tls(port, "--tls", "full", "--connections", 1, "--messages", 9)

    assert "wrong-byte" == outcome.error


@pytest.mark.parametrize("tls", ["full", "resumed"])
def test_handshakes_are_what_they_are_to_be(load_tls, ciphered, tls):
    """All in full; or all with a ticket but the first of each of those that begin at once."""
    port, resumed = ciphered(lambda line, n: line)
    outcome = load_tls(port, "--mode", "connect", "--tls", tls, "--connections", 2, "--messages", 20)

    assert (0, 20) == (outcome.status, outcome.result["messages"])
    assert 20 == len(resumed)
    assert (resumed.count(True) >= 18) == (tls == "resumed")
    assert (resumed.count(True) == 0) == (tls == "full")


def test_a_server_without_tickets_is_no_contestant(load_tls, ciphered):
    """Nothing would have been resumed, and the figure would be that of another work."""
    port, _ = ciphered(lambda line, n: line, tickets=0)
    outcome = load_tls(port, "--mode", "connect", "--tls", "resumed", "--connections", 2, "--messages", 20)

    assert "not-resumed" == outcome.error


def test_without_openssl_tls_is_refused(load, ciphered):
    """The generator of the rows in clear needs none, and has none."""
    port, _ = ciphered(lambda line, n: line)

    assert "usage" == load(port, "--tls", "full", "--messages", 1).error
