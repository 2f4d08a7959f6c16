"""Handlers of other packages, as they come, driven by clients that are not ours."""

import functools
import http.client
import json
import re
import shutil
import smtplib
import subprocess

import pytest

from penstock.adapters import service_of
from penstock.testing.engines import LOOPS

on_loops = pytest.mark.engines(*LOOPS)
on_threads = pytest.mark.engines("blocking")


class Mailbox:
    """Keeps the mail that aiosmtpd hands it."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, session.peer[0], b"body of it" in envelope.content))
        return "250 kept"


def smtp(mailbox):
    """What makes aiosmtpd's protocol."""
    module = pytest.importorskip("aiosmtpd.smtp")
    return functools.partial(module.SMTP, mailbox, hostname="mail.example")


@on_loops
def test_the_protocol_of_aiosmtpd_takes_mail_of_smtplib(serve, engine):
    """Two mails over one connection, and one command that it does not know."""
    mailbox = Mailbox()
    with serve(smtp(mailbox)) as server, smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client:
        for number in (1, 2):
            assert {} == client.sendmail(f"{number}@a.example", ["b@b.example"], "Subject: x\r\n\r\nbody of it\r\n")
        assert 500 == client.docmd("NONSENSE")[0]

    assert [(f"{number}@a.example", ["b@b.example"], "127.0.0.1", True) for number in (1, 2)] == mailbox.mails


@pytest.mark.outside
@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
@on_loops
def test_the_protocol_of_aiosmtpd_takes_mail_of_swaks(serve, engine):
    """As people try a mail server by hand."""
    mailbox = Mailbox()
    with serve(smtp(mailbox)) as server:
        done = subprocess.run(
            [
                *("swaks", "--server", f"127.0.0.1:{server.port}", "--helo", "c.example", "--silent", "2"),
                *("--from", "a@a.example", "--to", "b@b.example", "--body", "body of it"),
            ],
            capture_output=True,
            text=True,
            timeout=30,
        )

    assert (0, "") == (done.returncode, done.stdout)
    assert [("a@a.example", ["b@b.example"], "127.0.0.1", True)] == mailbox.mails


def resolving(transport):
    """A server of dnslib's that knows one name."""
    dnslib = pytest.importorskip("dnslib")
    module = pytest.importorskip("dnslib.server")

    class Resolver(module.BaseResolver):
        def resolve(self, request, handler):
            reply = request.reply()
            reply.add_answer(*dnslib.RR.fromZone("a.example. 60 A 192.0.2.7"))
            return reply

    made = (module.UDPServer if transport == "udp" else module.TCPServer)(("127.0.0.1", 0), module.DNSHandler)
    made.resolver, made.logger = Resolver(), module.DNSLogger(logf=lambda line: None)
    return made


@pytest.mark.outside
@pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@on_threads
def test_the_server_of_dnslib_answers_dig(serve, engine, transport):
    """As people look a name up."""
    with serve(resolving(transport), bind=f"{transport}://127.0.0.1:0") as server:
        where = ["@127.0.0.1", "-p", str(server.port), "+tcp" if transport == "tcp" else "+notcp"]
        command = ["dig", "-r", *where, "+short", "+time=20", "+tries=1", "a.example"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert ("192.0.2.7\n", "", 0) == (done.stdout, done.stderr, done.returncode)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@on_threads
def test_the_server_of_dnslib_resolves(serve, engine, transport):
    """A server of `socketserver` with its state: a resolver, a logger."""
    dnslib = pytest.importorskip("dnslib")
    with serve(resolving(transport), bind=f"{transport}://127.0.0.1:0") as server:
        question = dnslib.DNSRecord.question("a.example")
        reply = dnslib.DNSRecord.parse(question.send("127.0.0.1", server.port, tcp=transport == "tcp", timeout=20))

    assert [question.header.id, "192.0.2.7"] == [reply.header.id, str(reply.short())]


@on_loops
def test_the_protocol_of_aiohttp_answers(serve, engine):
    """A function that makes protocols; it keeps its connection for the next request, and takes a large body."""
    web = pytest.importorskip("aiohttp.web")

    async def answer(request):
        return web.Response(text=f"{request.path} {len(await request.read())}")

    made = []

    def protocol():
        made[:] = made or [web.Server(answer)]  # with the first connection: it asks for the loop that runs
        return made[0]()

    with serve(service_of(protocol, kind="protocol")) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for path, size in [("/small", 5), ("/large", 500_000), ("/none", 0)]:
            client.request("POST", path, body=bytes(size))
            assert f"{path} {size}" == client.getresponse().read().decode()
        client.close()


async def application(scope, receive, send):
    """Answers with the path, as ASGI has it."""
    body = json.dumps([scope["path"], scope["scheme"], len((await receive())["body"])]).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def of_uvicorn(name):
    """What makes a protocol of uvicorn's."""
    uvicorn = pytest.importorskip("uvicorn")
    module, _, kind = name.partition(".")
    protocol = getattr(pytest.importorskip(f"uvicorn.protocols.http.{module}"), kind)
    state = pytest.importorskip("uvicorn.server").ServerState()
    config = uvicorn.Config(application, log_config=None, access_log=False)
    return functools.partial(protocol, config=config, server_state=state, app_state={})


OF_UVICORN = ["h11_impl.H11Protocol", "httptools_impl.HttpToolsProtocol"]


@pytest.mark.outside
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@on_loops
def test_a_protocol_of_uvicorn_serves_wrk(serve, engine):
    """A second of requests over eight connections: each is answered well, and none of them breaks."""
    with serve(of_uvicorn("httptools_impl.HttpToolsProtocol")) as server:
        done = subprocess.run(
            ["wrk", "-t1", "-c8", "-d1s", "--timeout", "20s", f"http://127.0.0.1:{server.port}/load"],
            capture_output=True,
            text=True,
            timeout=60,
        )

    # It says so where a socket failed or an answer was not 2xx or 3xx.
    complaints = [line for line in done.stdout.splitlines() if "Socket errors" in line or "Non-2xx" in line]
    assert (0, "", []) == (done.returncode, done.stderr, complaints)
    assert re.search(r"^ *[1-9]\d* requests in", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.outside
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("name", OF_UVICORN)
@on_loops
def test_the_protocols_of_uvicorn_serve_curl(serve, engine, name):
    """Two requests over one connection."""
    with serve(of_uvicorn(name)) as server:
        url = f"http://127.0.0.1:{server.port}"
        done = subprocess.run(
            ["curl", "-sS", "-d", "hello", f"{url}/one", f"{url}/two"], capture_output=True, text=True, timeout=20
        )

    assert ('["/one", "http", 5]["/two", "http", 5]', "") == (done.stdout, done.stderr)


@on_loops
def test_the_protocol_of_websockets_talks(serve, engine):
    """A small message, one that is larger than what is read at once, and the closing handshake of both."""
    asked = pytest.importorskip("websockets.asyncio.server")
    client = pytest.importorskip("websockets.sync.client")
    protocol = pytest.importorskip("websockets.server").ServerProtocol

    async def talk(connection):
        await connection.handshake()
        async with connection:
            async for message in connection:
                await connection.send(message.upper())

    class Elsewhere(asked.Server):
        """It listens nowhere."""

        def is_serving(self):
            return True

    def make():
        return asked.ServerConnection(protocol(max_size=2**21), Elsewhere(None, talk))

    with (
        serve(service_of(make, kind="protocol")) as server,
        client.connect(f"ws://127.0.0.1:{server.port}", max_size=2**21, proxy=None) as peer,
    ):
        for size in (3, 1_000_000):
            peer.send("x" * size)
            assert "X" * size == peer.recv(timeout=20)


@pytest.mark.outside
@pytest.mark.skipif(shutil.which("telnet") is None, reason="telnet is not installed")
@on_loops
def test_the_protocol_of_telnetlib3_greets_telnet(serve, engine):
    """After they have negotiated."""
    module = pytest.importorskip("telnetlib3")

    async def shell(reader, writer):
        writer.write("name? ")
        name = ""
        while not name.endswith(("\r", "\n")):
            name += await reader.read(1)
        writer.write(f"hello {name.strip()}\r\n")
        await writer.drain()
        writer.close()

    telnet = functools.partial(module.TelnetServer, shell=shell, connect_maxwait=0.1)
    with (
        serve(service_of(telnet, kind="protocol")) as server,
        subprocess.Popen(
            ["telnet", "127.0.0.1", str(server.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as client,
    ):
        client.stdin.write(b"Ada\n")
        client.stdin.flush()
        said = client.stdout.read()

    assert b"hello Ada" in said


@on_loops
def test_the_protocol_of_pymodbus_is_read_and_written(serve, engine):
    """By its own client, which blocks."""
    servers = pytest.importorskip("pymodbus.server")
    simulator = pytest.importorskip("pymodbus.simulator")
    pymodbus = pytest.importorskip("pymodbus.client")
    made = []

    def protocol():
        data = simulator.SimData(address=0, values=[17, 4], datatype=simulator.DataType.REGISTERS)
        made[:] = made or [servers.ModbusTcpServer(simulator.SimDevice(id=1, simdata=[data]))]  # in the loop that runs
        return made[0].handle_new_connection()

    with serve(service_of(protocol, kind="protocol")) as server:
        client = pymodbus.ModbusTcpClient("127.0.0.1", port=server.port, timeout=20)
        client.write_register(1, 5, device_id=1)
        assert [17, 5] == client.read_holding_registers(0, count=2, device_id=1).registers
        client.close()
