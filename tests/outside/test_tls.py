"""TLS with programs that are not ours, as clients and as servers, in both versions."""

import asyncio
import contextlib
import shutil
import subprocess
import time

import pytest

import penstock
from penstock import ClientTls
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.peers import PATIENCE_S
from penstock.testing.served import served

pytest.importorskip("trustme")
pytestmark = pytest.mark.outside

ENGINES = [engine for engine in ALL_ENGINES if engine.label in ("pure", "native", "blocking")]
engines = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.label)


def need(program):
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@pytest.fixture
def serve_tls(engine):
    """Serve one answer and close, over TLS."""
    if engine.missing:
        pytest.skip(engine.missing)

    @penstock.on_message(codec="lines")
    def answer(conn, message):
        if message.startswith(b"GET "):
            conn.post_frame(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            conn.post(b"got " + message)
        conn.close()

    def start(**options):
        return served(
            answer, engine=engine.name, loop_factory=engine.loop_factory, bind="tls://127.0.0.1:0",
            tls_cert=server_certificate(), **options,
        )  # fmt: skip

    return start


def talk(command, text=b"hello\n"):
    """Run a client until its server closes; return what it printed."""
    done = subprocess.run(command, input=text, capture_output=True, timeout=PATIENCE_S)
    return done.stdout, done.stderr.decode()


CLIENTS = {
    "s_client 1.2": "openssl s_client -quiet -tls1_2 -verify_return_error -CAfile {ca} -connect 127.0.0.1:{port}",
    "s_client 1.3": "openssl s_client -quiet -tls1_3 -verify_return_error -CAfile {ca} -connect 127.0.0.1:{port}",
    "ncat": "ncat --ssl-verify --ssl-trustfile {ca} localhost {port}",
    "socat": "socat -t 10 - OPENSSL:localhost:{port},cafile={ca}",
}


@engines
@pytest.mark.parametrize("which", CLIENTS)
def test_clients_that_are_not_ours_are_served(serve_tls, which):
    """They verify the server, and see its answer and its end."""
    words = CLIENTS[which].split()
    need(words[0])
    with serve_tls() as server:
        command = [word.format(ca=authority().ca, port=server.port) for word in words]
        printed, said = talk(command)
        reasons = list(server.reasons(1))

    assert b"got hello\n" == printed, said
    assert reasons in (["done"], ["peer_closed"])  # some clients close as soon as they have their answer


@engines
def test_curl_is_served(serve_tls):
    """HTTPS, as far as a handler speaks it."""
    need("curl")
    with serve_tls() as server:
        printed, said = talk(
            ["curl", "-s", "-S", "--http1.0", "--cacert", authority().ca, f"https://localhost:{server.port}/"]
        )

    assert b"ok" == printed.strip(), said


@engines
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("shows", ["right", "expired", None])
def test_s_client_shows_its_certificate(serve_tls, shows, version):
    """The right one is served; without one, or with one that has expired, nothing is delivered."""
    need("openssl")
    files = {
        "right": authority().issue("s-right", "c@example.org"),
        "expired": authority().issue("s-expired", "c@example.org", days=-0.5),
    }
    with serve_tls(tls_client_ca=authority().ca) as server:
        command = ["openssl", "s_client", "-quiet", version, "-CAfile", authority().ca]
        if shows is not None:
            command += ["-cert", files[shows], "-key", files[shows]]
        printed, _ = talk([*command, "-connect", f"127.0.0.1:{server.port}"])
        reasons = list(server.reasons(1))

    assert (b"got hello\n" if shows == "right" else b"", ["done" if shows == "right" else "tls_certificate"]) == (
        printed,
        reasons,
    )


@engines
def test_nobody_renegotiates(serve_tls):
    """T-47: a client of TLS 1.2 that asks for it is refused, and no handler hears of it."""
    need("openssl")
    with serve_tls() as server:
        command = ["openssl", "s_client", "-tls1_2", "-CAfile", authority().ca, "-connect", f"127.0.0.1:{server.port}"]
        _, said = talk(command, b"R\n")
        messages = server.call(lambda: server.server.messages_in)

    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said
    assert 0 == messages


@engines
def test_keys_are_changed_under_way(serve_tls):
    """TLS 1.3: both ends go on with new keys, as often as a client asks for it."""
    need("openssl")
    with serve_tls() as server:
        command = ["openssl", "s_client", "-tls1_3", "-CAfile", authority().ca, "-connect", f"127.0.0.1:{server.port}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            for _ in range(20):  # one for each time that it reads its input
                client.stdin.write(b"K\n")
                client.stdin.flush()
                line = b""
                while b"KEYUPDATE" not in line:
                    line = client.stderr.readline()
            client.stdin.write(b"hello\n")
            client.stdin.flush()
            answer = b""
            while answer != b"got hello\n":
                answer = client.stdout.readline()
                assert answer, "it ended"
            client.communicate(timeout=PATIENCE_S)


SERVERS = {
    "s_server 1.2": "openssl s_server -quiet -rev -tls1_2 -cert {cert} -accept 127.0.0.1:{port}",
    "s_server 1.3": "openssl s_server -quiet -rev -tls1_3 -cert {cert} -accept 127.0.0.1:{port}",
    "socat": "socat OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,cert={cert},verify=0 EXEC:rev",
    "ncat": "ncat --ssl --ssl-cert {cert} --ssl-key {cert} -l 127.0.0.1 {port} -e /bin/cat",
}


@contextlib.contextmanager
def running(command, port):
    """Run a server until the end of the block, from when it listens on."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        yield server
    finally:
        server.terminate()
        server.wait(PATIENCE_S)
        server.stderr.close()


@engines
@pytest.mark.parametrize("which", SERVERS)
def test_servers_that_are_not_ours_are_verified_and_asked(engine, which, reserve):
    """They send back each line, some of them the wrong way round."""
    words = SERVERS[which].split()
    need(words[0])
    need("rev")
    if engine.missing:
        pytest.skip(engine.missing)
    port = reserve()
    command = [word.format(cert=server_certificate(), port=port) for word in words]
    with running(command, port):
        ends = which == "socat"  # what it runs waits for that
        answer = asked(engine, f"tls://localhost:{port}?family=ipv4", ClientTls(ca=authority().ca), ends=ends)

    assert (b"hello" if which == "ncat" else b"olleh") == answer


def there(address, tls):
    """Connect once it listens: it does not say when."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return penstock.connect_sync(address, tls=tls)
        except penstock.ConnectError as error:
            if error.phase is not penstock.Phase.CONNECT or time.monotonic() > until:
                raise
            time.sleep(0.02)


def asked(engine, address, tls, *, ends):
    """Ask for one line, and perhaps end our direction after it."""
    if engine.name == "blocking":
        with there(address, tls) as conn:
            conn.send(b"hello")
            if ends:
                conn.send_eof()
            return conn.receive(PATIENCE_S)

    async def ask():
        while True:
            tried = await penstock.try_connect(address, codec="lines", tls=tls)
            if tried.connection is not None:
                break
            assert tried.phase is penstock.Phase.CONNECT, tried.error
            await asyncio.sleep(0.02)
        async with tried.connection as conn:
            await conn.send(b"hello")
            if ends:
                conn.send_eof()
            return await conn.receive(PATIENCE_S)

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        return runner.run(asyncio.wait_for(ask(), PATIENCE_S))
