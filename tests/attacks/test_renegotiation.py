"""T-47: a client of TLS 1.2 that asks to renegotiate again and again is refused each time, and then cut off."""

import contextlib
import ctypes
import hashlib
import hmac
import ssl
import struct

import pytest

import penstock
from penstock.config import GateConfig
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.peers import dial

pytest.importorskip("trustme")
pytestmark = pytest.mark.uncipherable("it speaks TLS already")

MOST = 200_000  # what a flood sends where nothing ends it: more than the kernel holds
CIPHER = b"ECDHE-ECDSA-AES128-GCM-SHA256"
SET_MAX_PROTO_VERSION, TLS_1_2 = 124, 0x0303
HANDSHAKE, APPLICATION_DATA = 22, 23


def hello():
    """The message ClientHello, without its record."""
    outgoing = ssl.MemoryBIO()
    session = authority().client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()[5:]


def expanded(secret, seed, size):
    """P_SHA256: RFC 5246 section 5."""
    found, step = b"", seed
    while len(found) < size:
        step = hmac.digest(secret, step, hashlib.sha256)
        found += hmac.digest(secret, step + seed, hashlib.sha256)
    return found[:size]


class Client:
    """A client of TLS 1.2 whose records are made here once the handshake is done: OpenSSL's own waits for the answer.

    Args:
        sock: Connected, blocking.
    """

    def __init__(self, sock):
        aead = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead")
        try:
            library = ctypes.CDLL("libssl.so.3")
        except OSError as error:
            pytest.skip(str(error))
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new", "SSL_get_session"):
            getattr(library, name).restype = ctypes.c_void_p
        self._sock = sock
        sock.settimeout(None)
        context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method())))
        assert 1 == library.SSL_CTX_set_cipher_list(context, CIPHER)
        assert 1 == library.SSL_CTX_ctrl(context, SET_MAX_PROTO_VERSION, ctypes.c_long(TLS_1_2), None)
        connection = ctypes.c_void_p(library.SSL_new(context))
        library.SSL_set_fd(connection, sock.fileno())
        assert 1 == library.SSL_connect(connection)
        randoms = [ctypes.create_string_buffer(32) for _ in range(2)]
        library.SSL_get_client_random(connection, randoms[0], ctypes.c_size_t(32))
        library.SSL_get_server_random(connection, randoms[1], ctypes.c_size_t(32))
        master = ctypes.create_string_buffer(48)
        session = ctypes.c_void_p(library.SSL_get_session(connection))
        library.SSL_SESSION_get_master_key(session, master, ctypes.c_size_t(48))
        keys = expanded(master.raw, b"key expansion" + randoms[1].raw + randoms[0].raw, 40)
        self._cipher, self._iv = aead.AESGCM(keys[:16]), keys[32:36]
        self._number = 1  # Finished was the first
        library.SSL_free(connection)
        library.SSL_CTX_free(context)

    def send(self, kind, data):
        """Send a record: RFC 5288 section 3."""
        number = struct.pack("!Q", self._number)
        self._number += 1
        about = number + struct.pack("!BHH", kind, TLS_1_2, len(data))
        sealed = number + self._cipher.encrypt(self._iv + number, data, about)
        self._sock.sendall(struct.pack("!BHH", kind, TLS_1_2, len(sealed)) + sealed)


@pytest.fixture
def serve_tls(serve):
    """Serve over TLS."""

    @penstock.on_message(codec="lines")
    def upper(message):
        return message.upper()

    gate = GateConfig(max_connections=None, max_per_peer=None, max_handshakes=None)
    return lambda: serve(upper, bind="tls://127.0.0.1:0", tls_cert=server_certificate(), gate=gate)


def test_a_flood_of_renegotiations_ends(serve_tls, engine, figure):
    """After 64 KiB of nothing else; no handshake is begun, and others are served afterwards."""
    asks = hello()
    with serve_tls() as server, dial(server.address) as raw:
        client = Client(raw)
        client.send(HANDSHAKE, asks)
        client.send(APPLICATION_DATA, b"still here\n")
        server.wait_until(lambda running: running.messages_in == 1)
        count = 0
        with contextlib.suppress(ConnectionError):
            while count < MOST:
                client.send(HANDSHAKE, asks)
                count += 1
        reasons = list(server.reasons(1))
        with CipheredSocket(dial(server.address)) as peer:
            peer.sendall(b"honest\n")
            served = peer.recv(100)
    figure(f"T-47 {engine.label}: a flood of renegotiations: the reset met it after {count}")

    assert (["tls_error"], b"HONEST\n") == (reasons, served)
    assert count < MOST
