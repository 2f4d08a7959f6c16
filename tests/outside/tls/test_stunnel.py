"""stunnel in front and at the client: who ciphers is another program, and who the peer is comes with a PROXY header."""

import contextlib
import shutil
import socket
import subprocess
import time

import pytest

import penstock
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.peers import PATIENCE_S
from penstock.testing.served import served

pytest.importorskip("trustme")
pytestmark = pytest.mark.outside

CONFIGURATION = """
foreground = yes
pid =
syslog = no
[one]
accept = 127.0.0.1:{port}
connect = {server}
{how}
"""


@pytest.fixture
def stunnel(tmp_path, reserve):
    """Run stunnel to the end of the test: ``stunnel(server, how)`` is the port where it listens."""
    port = reserve()
    with contextlib.ExitStack() as stack:

        def start(server, how):
            program = shutil.which("stunnel4") or shutil.which("stunnel")
            if program is None:
                pytest.skip("stunnel is not installed")
            file = tmp_path / "stunnel.conf"
            file.write_text(CONFIGURATION.format(port=port, server=server, how="\n".join(how)))
            process = subprocess.Popen([program, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait, PATIENCE_S)
            stack.callback(process.terminate)
            return port

        yield start


def connected(port):
    """Connect once it listens: it does not say when."""
    until = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        assert time.monotonic() < until, "stunnel does not listen"
        time.sleep(0.02)  # outside there is nothing to wait for


@penstock.on_message(codec="lines")
def tell(conn, message):
    """Say whom we talk to."""
    names = conn.tls.certificate.names if conn.tls and conn.tls.certificate else ("nobody",)
    return b"%s %s %s" % (message, str(conn.peer).encode(), names[0].encode())


def serve(engine, bind="tcp://127.0.0.1:0", **options):
    return served(tell, engine=engine.name, loop_factory=engine.loop_factory, bind=bind, **options)


def place(server):
    return server.address.partition("//")[2]


def own(sock):
    return "{}:{}".format(*sock.getsockname()).encode()


def test_stunnel_in_front_says_whose_connection_it_is(engine, stunnel):
    """``protocol = proxy``: it ends TLS, and each peer is the client behind it."""
    with serve(engine, proxy_from="127.0.0.1") as server:
        port = stunnel(place(server), [f"cert = {server_certificate()}", "protocol = proxy"])
        with contextlib.ExitStack() as stack:
            expected, found = [], []
            for _ in range(3):
                sock = connected(port)
                expected.append(b"hi %s nobody\n" % own(sock))
                peer = stack.enter_context(CipheredSocket(sock))
                peer.sendall(b"hi\n")
                found.append(peer.recv(100))

    assert expected == found


def test_stunnel_at_the_client_shows_its_certificate(engine, stunnel):
    """It gives TLS to a program that has none: ours sees its certificate and its address."""
    mine = authority().issue("stunnel", "stunnel@example.org")
    options = {"tls_cert": server_certificate(), "tls_client_ca": authority().ca}
    with serve(engine, bind="tls://127.0.0.1:0", **options) as server:
        how = ["client = yes", "verifyChain = yes", f"CAfile = {authority().ca}", "checkHost = localhost"]
        port = stunnel(place(server), [*how, f"cert = {mine}"])
        with connected(port) as sock:
            sock.sendall(b"hi\n")
            answer = sock.recv(100)
            from_stunnel = str(server.call(lambda: next(iter(server.server.connections)).peer)).encode()

    assert b"hi %s stunnel@example.org\n" % from_stunnel == answer


def test_stunnel_refuses_ours_where_the_name_is_another(engine, stunnel):
    """As its client is told: nothing of what the plain client says comes through."""
    with serve(engine, bind="tls://127.0.0.1:0", tls_cert=server_certificate()) as server:
        how = ["client = yes", "verifyChain = yes", f"CAfile = {authority().ca}", "checkHost = elsewhere.example"]
        port = stunnel(place(server), how)
        with connected(port) as sock:
            sock.sendall(b"hi\n")
            with contextlib.suppress(ConnectionError):
                assert b"" == sock.recv(100)
        reasons = list(server.reasons(1))
        messages = server.call(lambda: server.server.messages_in)

    assert (0, True) == (messages, reasons[0].startswith("tls_"))
