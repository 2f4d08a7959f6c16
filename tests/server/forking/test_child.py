"""TLS of the process of a connection: it shakes hands itself, and the server counts that."""

import shutil
import signal
import ssl
import sys

import pytest

from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket

from ...workers.conftest import answer, ask

pytest.importorskip("trustme")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def serve_tls(serve):
    """Serve over TLS."""

    def start(*arguments, bind="tls://127.0.0.1:0", cert=None, **options):
        cert = server_certificate() if cert is None else cert
        return serve("app:ciphered", "--tls-cert", cert, *arguments, bind=(bind,), **options)

    return start


def ciphered(served, cert=None):
    return CipheredSocket(served.connect(), authority().client(cert))


@pytest.mark.parametrize("workers", [None, 2])
def test_each_process_shakes_hands_itself(serve_tls, workers):
    """With the certificate of a client, too; one that is refused reaches no handler, and the server says why."""
    right = authority().issue("p-right", "c@example.org")
    served = serve_tls("--tls-client-ca", authority().ca, workers=workers)
    peers = [ciphered(served, right) for _ in range(2)]
    answers = [ask(peer).split() for peer in peers]
    with pytest.raises((ssl.SSLError, ConnectionError)), ciphered(served) as refused:
        refused.sendall(b"a\n")
        assert refused.recv(100)
    with served.connect() as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        served.said_in_any_order("closed: tls_certificate", "closed: not_tls", "sent no certificate")

    assert 2 == len({pid for pid, *_ in answers} - {str(served.process.pid)})
    assert [["tls", "c@example.org"]] * 2 == [rest for _, *rest in answers]
    for peer in peers:
        peer.close()
    assert 0 == served.stop()
    assert "Traceback" not in served.rest()


def test_tls_may_begin_later_and_be_one_of_two(serve_tls):
    """``?tls=start``, and ``tcp+tls://`` where the first bytes say it."""
    served = serve_tls(bind="tcp://127.0.0.1:0?tls=start")
    with served.connect() as raw:
        before = ask(raw, b"STARTTLS").split()
        with CipheredSocket(raw) as peer:
            after = ask(peer).split()
    assert 0 == served.stop()
    served = serve_tls(bind="tcp+tls://127.0.0.1:0")
    with served.connect() as plain, ciphered(served) as peer:
        both = [ask(each).split()[1] for each in (plain, peer)]
    assert 0 == served.stop()

    assert ("clear", "tls", before[0]) == (before[1], after[1], after[0])
    assert ["clear", "tls"] == both


def test_a_handshake_has_its_place_at_the_gate_and_its_deadline(serve_tls):
    """``--max-handshakes``: who says nothing holds one until its time is over."""
    served = serve_tls("--max-handshakes", "1", "--timeout-handshake", "1s")
    with served.connect() as silent:
        with pytest.raises(ConnectionResetError), served.connect() as late:
            late.recv(1)
        served.said("closed: handshake_timeout")
        silent.close()
    with ciphered(served) as first:
        pid = ask(first).split()[0]
        with ciphered(served) as second:  # the first has ended its own
            assert pid != ask(second).split()[0]
    assert 0 == served.stop()


def test_certificates_are_exchanged_for_connections_from_then_on(serve_tls, tmp_path):
    """SIGHUP: an open connection keeps what it has; a pair that is broken changes nothing."""
    cert = tmp_path / "server.pem"
    shutil.copy(server_certificate(), cert)
    served = serve_tls(cert=str(cert))
    before = ciphered(served)
    serial = shown(before)
    shutil.copy(authority().issue("p-new", "localhost", "127.0.0.1"), cert)
    served.tell(signal.SIGHUP)
    served.said("certificates: ")
    served.said("certificates: ")
    with ciphered(served) as after:
        other = shown(after)
        assert ask(after)
    cert.write_text("broken")
    served.tell(signal.SIGHUP)
    served.said("stays as it is")
    with ciphered(served) as still:
        assert other == shown(still)
    assert ask(before)
    before.close()
    assert 0 == served.stop()

    assert serial != other


def shown(peer):
    return peer.certificate.pin


def test_what_was_written_for_something_else_speaks_tls(serve):
    """In a process of its own, as in any."""
    served = serve("app:Requests", "--tls-cert", server_certificate(), bind=("tls://127.0.0.1:0",))
    with ciphered(served) as peer:
        assert ask(peer, b"x").endswith(" x")
    assert 0 == served.stop()


def test_a_throw_away_certificate_is_shown_by_each_process(serve):
    """``--tls-dev``: made by the server, before any process is."""
    served = serve("app:ciphered", "--tls-dev", bind=("tls://127.0.0.1:0",))
    ca = served.said("tls_dev").rpartition(" ")[2]
    with CipheredSocket(served.connect(), ssl.create_default_context(cafile=ca)) as peer:
        assert answer_of(peer)[1] == "tls"
    assert 0 == served.stop()


def answer_of(peer):
    peer.sendall(b"a\n")
    return answer(peer).split()
