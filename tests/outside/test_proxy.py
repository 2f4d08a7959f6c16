"""HAProxy and nginx in front, which hand a stream on with a PROXY header: whose connection it is, in both versions."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

import penstock
from penstock.core.events import EventName
from penstock.testing.certificates import server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.peers import PATIENCE_S, dial
from penstock.testing.served import served

pytestmark = pytest.mark.outside

ENGINES = [engine for engine in ALL_ENGINES if engine.label in ("pure", "native", "blocking")]
engines = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.label)
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 20s
    timeout client 20s
    timeout server 20s
listen all
    bind 127.0.0.1:{port}
    server one {server} {how}
"""
NGINX = f"""
load_module {STREAM_MODULE};
daemon off;
pid {{directory}}/nginx.pid;
error_log {{directory}}/error.log;
events {{{{}}}}
stream {{{{
    server {{{{
        listen 127.0.0.1:{{port}};
        proxy_pass {{server}};
        proxy_protocol on;
    }}}}
}}}}
"""


@penstock.on_message(codec="lines")
def tell(conn, message):
    assert conn.proxy is not None
    return b"%s %s v%d" % (message, str(conn.peer).encode(), conn.proxy.version)


@contextlib.contextmanager
def running(*command):
    """Run a program until the end of the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert b"panic" not in errors.lower()


def haproxy(path, server, port, how):
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    Path(path / "haproxy.cfg").write_text(HAPROXY.format(port=port, server=server, how=how))
    return running(program, "-db", "-q", "-f", str(path / "haproxy.cfg"))


def asked(port, path=None):
    """Connect, once somebody listens, and ask; return our own end and the answer."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            sock = dial(f"tcp://127.0.0.1:{port}")
        except ConnectionRefusedError:
            assert time.monotonic() < until, "the proxy does not listen"
            time.sleep(0.02)  # outside there is nothing to wait for
            continue
        break
    own = "{}:{}".format(*sock.getsockname()).encode()
    with CipheredSocket(sock) if path else sock as peer:
        peer.sendall(b"hi\n")
        return own, peer.recv(200)


@engines
@pytest.mark.parametrize(
    ("how", "version", "secured"),
    [
        ("send-proxy", 1, False),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id,authority", 2, False),
        ("send-proxy-v2", 2, True),
    ],
)
def test_haproxy_says_whose_connection_it_is(engine, how, version, secured, tmp_path, reserve):
    """Both versions; TLS passes through. Its health checks speak for themselves, and leave."""
    if engine.missing:
        pytest.skip(engine.missing)
    options = {}
    if secured:
        pytest.importorskip("trustme")
        options = {"tls_cert": server_certificate()}
    bind = f"{'tls' if secured else 'tcp'}://127.0.0.1:0"
    port = reserve()
    with served(
        tell, engine=engine.name, loop_factory=engine.loop_factory, bind=bind, proxy_from="127.0.0.1", **options
    ) as server:
        address = server.address.partition("//")[2]
        with haproxy(tmp_path, address, port, f"{how} check inter 50ms"):
            own, answer = asked(port, secured)
            server.wait_closed(3)
        closed = server.record.of(EventName.CLOSED)

    assert b"hi %s v%d\n" % (own, version) == answer
    local = [event for event in closed if event.connection.proxy is not None and event.connection.proxy.is_local]
    assert version == 1 or local


@engines
def test_nginx_says_whose_connection_it_is(engine, tmp_path, reserve):
    """Version 1, of its stream module."""
    if engine.missing:
        pytest.skip(engine.missing)
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None or not Path(STREAM_MODULE).exists():
        pytest.skip("nginx with its stream module is not installed")
    port = reserve()
    with served(
        tell, engine=engine.name, loop_factory=engine.loop_factory, bind="tcp://127.0.0.1:0", proxy_from="127.0.0.1"
    ) as server:
        text = NGINX.format(directory=tmp_path, port=port, server=server.address.partition("//")[2])
        Path(tmp_path / "nginx.conf").write_text(text)
        with running(program, "-e", "stderr", "-c", str(tmp_path / "nginx.conf")):
            own, answer = asked(port)
            server.wait_closed(1)

    assert b"hi %s v1\n" % own == answer


@engines
def test_curl_sends_a_header(engine):
    """``--haproxy-protocol``: a client of its own."""
    if engine.missing:
        pytest.skip(engine.missing)
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")

    @penstock.on_message(codec="lines")
    def answer(conn, message):
        conn.post_frame(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nv%d" % conn.proxy.version)
        conn.close()

    with served(
        answer, engine=engine.name, loop_factory=engine.loop_factory, bind="tcp://127.0.0.1:0", proxy_from="127.0.0.1"
    ) as server:
        url = server.address.replace("tcp://", "http://")
        done = subprocess.run(
            [curl, "-s", "--haproxy-protocol", url], capture_output=True, timeout=PATIENCE_S, check=True
        )
        server.reasons(1)

    assert b"v1" == done.stdout


def test_a_forged_header_is_not_believed_by_way_of_haproxy(tmp_path, reserve):
    """A client that sends one through the proxy has it taken for its own message, behind the proxy's."""
    port = reserve()
    with (
        served(
            tell, engine="pure", loop_factory=ENGINES[0].loop_factory, bind="tcp://127.0.0.1:0", proxy_from="127.0.0.1"
        ) as server,
        haproxy(tmp_path, server.address.partition("//")[2], port, "send-proxy-v2"),
    ):
        asked(port)
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as peer:
            own = "{}:{}".format(*peer.getsockname()).encode()
            peer.sendall(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n")
            received = peer.recv(200)

    assert b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 %s v2\n" % own == received
