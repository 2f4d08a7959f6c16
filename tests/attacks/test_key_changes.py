"""T-47: a peer that changes keys for ever and says nothing is cut off; one that also speaks may."""

import ctypes

import pytest

import penstock
from penstock.config import GateConfig
from penstock.testing.certificates import server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.peers import dial

pytest.importorskip("trustme")
pytestmark = pytest.mark.uncipherable("it speaks TLS already")

NOT_REQUESTED, REQUESTED = 0, 1  # RFC 8446 section 4.6.3
MOST = 2_000_000  # what a flood sends where nothing ends it: more than the kernel holds


@pytest.fixture(scope="module")
def openssl():
    """libssl, for what `ssl` has no call."""
    try:
        library = ctypes.CDLL("libssl.so.3")
    except OSError as error:
        pytest.skip(str(error))
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


class Client:
    """A client of TLS 1.3 that can change keys.

    Args:
        library: libssl.
        sock: Connected, blocking.
    """

    def __init__(self, library, sock):
        self._library = library
        self._sock = sock
        sock.settimeout(None)
        self._context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method())))
        self._ssl = ctypes.c_void_p(library.SSL_new(self._context))
        library.SSL_set_fd(self._ssl, sock.fileno())
        assert 1 == library.SSL_connect(self._ssl)

    def change_keys(self, kind):
        """Send KeyUpdate; say whether that was possible."""
        return self._library.SSL_key_update(self._ssl, kind) == 1 == self._library.SSL_do_handshake(self._ssl)

    def ask(self, line):
        """Send a line; return what comes next."""
        buffer = ctypes.create_string_buffer(100)
        assert len(line) == self._library.SSL_write(self._ssl, line, len(line))
        size = self._library.SSL_read(self._ssl, buffer, 100)
        return buffer.raw[:size]

    def close(self):
        """Leave."""
        self._sock.close()
        self._library.SSL_free(self._ssl)
        self._library.SSL_CTX_free(self._context)


@pytest.fixture
def serve_tls(serve):
    """Serve over TLS."""

    @penstock.on_message(codec="lines")
    def upper(message):
        return message.upper()

    def start(**options):
        options.setdefault("gate", GateConfig(max_connections=None, max_per_peer=None, max_handshakes=None))
        return serve(upper, bind="tls://127.0.0.1:0", tls_cert=server_certificate(), **options)

    return start


@pytest.mark.parametrize("kind", [NOT_REQUESTED, REQUESTED], ids=["its own", "ours, too"])
def test_a_flood_of_key_changes_ends(serve_tls, openssl, engine, figure, kind):
    """After 64 KiB of nothing else, whether or not it reads the answers; others are served meanwhile and afterwards."""
    with serve_tls() as server:
        client = Client(openssl, dial(server.address))
        changes = 0
        while changes < MOST and client.change_keys(kind):
            changes += 1
        client.close()
        reasons = list(server.reasons(1))
        with CipheredSocket(dial(server.address)) as peer:
            peer.sendall(b"honest\n")
            served = peer.recv(100)
    whose = ("its own", "ours, too")[kind]
    figure(f"T-47 {engine.label}: a flood of key changes, {whose}: the reset met it after {changes}")

    assert (["tls_error"], b"HONEST\n") == (reasons, served)
    assert changes < MOST


def test_who_changes_keys_and_speaks_is_served(serve_tls, openssl):
    """However often: each message is a reason."""
    with serve_tls() as server:
        client = Client(openssl, dial(server.address))
        answers = set()
        for _ in range(100):
            for kind in (NOT_REQUESTED, REQUESTED) * 15:
                assert client.change_keys(kind)
            answers.add(client.ask(b"a\n"))
        client.close()
        server.reasons(1)

    assert {b"A\n"} == answers
