"""Servers that are not ours, each a process of its own: ncat, socat, an echo in C, and Redis."""

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import penstock as library
from penstock.codecs.resp.values import ErrorReply

pytestmark = pytest.mark.outside

C_SOURCE = Path(__file__).parents[2] / "bench" / "limit" / "epoll_echo.c"


def program(name):
    """The path of a program; the test is skipped where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture
def start(directory):
    """A function that starts a server, which ends with the test."""
    with contextlib.ExitStack() as stack:

        def run(*command, **options):
            process = subprocess.Popen(
                command, cwd=directory, stderr=subprocess.DEVNULL, **{"stdout": subprocess.DEVNULL, **options}
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            if process.stdout is not None:
                stack.callback(process.stdout.close)
            return process

        yield run


def ncat(start, directory, reserve):
    port = reserve()
    start(program("ncat"), "-l", "-k", "127.0.0.1", str(port), "-e", "/bin/cat")
    return f"tcp://127.0.0.1:{port}"


def ncat_unix(start, directory, reserve):
    start(program("ncat"), "-l", "-k", "-U", "ncat.sock", "-e", "/bin/cat")
    return f"unix://{directory}/ncat.sock"


def socat(start, directory, reserve):
    port = reserve()
    start(program("socat"), f"TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1", "EXEC:/bin/cat")
    return f"tcp://localhost:{port}"


def socat_ipv6(start, directory, reserve):
    if not Path("/proc/net/if_inet6").exists() or not Path("/proc/net/if_inet6").read_text():
        pytest.skip("no IPv6 here")
    port = reserve()
    start(program("socat"), f"TCP6-LISTEN:{port},fork,reuseaddr,bind=[::1]", "EXEC:/bin/cat")
    return f"tcp://[::1]:{port}"


def socat_records(start, directory, reserve):
    start(program("socat"), "UNIX-LISTEN:records.sock,fork,type=5", "EXEC:/bin/cat,type=5")
    return f"unix+seqpacket://{directory}/records.sock"


def c_echo(start, directory, reserve):
    if not C_SOURCE.exists():
        pytest.skip("the source of the echo in C is not here")
    built = subprocess.run([program("cc"), "-O1", "-o", directory / "echo", C_SOURCE], capture_output=True)
    assert (0, b"") == (built.returncode, built.stderr)
    server = start(directory / "echo", "--port", "0", "--framing", "raw", stdout=subprocess.PIPE)
    return f"tcp://127.0.0.1:{server.stdout.readline().split()[1].decode()}"


@pytest.fixture(params=[ncat, ncat_unix, socat, socat_ipv6, socat_records, c_echo], ids=lambda made: made.__name__)
def echo(request, start, directory, penstock, reserve):
    """The address of a server that sends back what comes, and that accepts."""
    address = request.param(start, directory, reserve)
    ready = penstock("probe", "--wait", "20s", address)
    assert (0, "") == (ready.returncode, ready.stderr)
    return address


class TestEcho:
    def test_probe(self, echo, penstock):
        """It accepts, and its line says so."""
        (found,) = json.loads(penstock("probe", "--json", echo).stdout)

        assert (echo, True, "OK", None) == tuple(found[name] for name in ("address", "accepts", "errno_name", "error"))

    @pytest.mark.parametrize(
        ("codec", "data"), [("lines", "one\ndéjà vu\nlast\n".encode()), ("raw", bytes(range(256)) * 20)]
    )
    def test_connect(self, echo, environ, codec, data):
        """A filter: text, and every byte value; at the end of the input it ends with status 0."""
        command = [sys.executable, "-m", "penstock", "connect", echo, "--codec", codec]
        with subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            process.stdin.write(data)
            process.stdin.flush()
            reply = process.stdout.read(len(data))  # before the end of the input: ncat says nothing after that
            process.stdin.close()
            rest = process.stdout.read() + process.stderr.read()

        assert (0, data, b"") == (process.returncode, reply, rest)

    def test_send(self, echo, penstock):
        """A reply for each message, and what was expected is there."""
        done = penstock("send", echo, "--codec", "lines", "one", "déjà vu", "--expect", "^déjà vu$")

        assert (0, "one\ndéjà vu\n", "") == (done.returncode, done.stdout, done.stderr)

    def test_the_synchronous_library(self, echo):
        """A request, and the end of it after ours."""
        with library.connect_sync(echo, codec="lines") as conn:
            reply = conn.request("déjà vu".encode(), 20)
            conn.send_eof()

            assert ("déjà vu".encode(), []) == (reply, list(conn))

    async def test_the_asynchronous_library(self, echo):
        """The same in a loop."""
        async with await library.connect(echo, codec="lines") as conn:
            reply = await conn.request("déjà vu".encode(), 20)
            conn.send_eof()

            assert ("déjà vu".encode(), []) == (reply, [message async for message in conn])


class TestDatagrams:
    @pytest.fixture
    def udp(self, start, penstock, reserve):
        """The address of a server that sends each datagram back."""
        port = reserve()
        server = start(program("socat"), f"UDP4-RECVFROM:{port},fork,bind=127.0.0.1", "EXEC:/bin/cat")
        address = f"udp://127.0.0.1:{port}"
        # Refused (status 1) until the socket is there: whoever has no port says so.
        while penstock("send", address, "ready", "--timeout", "20s").returncode == 1:
            assert server.poll() is None
        return address

    def test_send(self, udp, penstock):
        """A datagram there and one back."""
        done = penstock("send", udp, "--json", "hello")

        assert (0, "") == (done.returncode, done.stderr)
        assert "hello" == json.loads(done.stdout)["reply"]

    def test_the_libraries(self, udp):
        """A connected socket of datagrams."""
        with library.connect_sync(udp, codec="raw") as conn:
            assert b"hello" == conn.request(b"hello", 20)


class TestRedis:
    @pytest.fixture
    def redis(self, start, directory, penstock, reserve):
        """The address of a Redis with nothing in it."""
        port = reserve()
        start(
            program("redis-server"), "--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", str(directory)
        )
        address = f"tcp://127.0.0.1:{port}"
        assert 0 == penstock("probe", "--wait", "20s", address).returncode
        return address

    def test_connect(self, redis, penstock):
        """Commands are typed as JSON, and each reply is a line of it."""
        commands = '["PING"]\n["SET", "k", "é"]\n["GET", "k"]\n["GET", "nothing"]\n["INCR", "n"]\n["NOSUCH"]\n'
        done = penstock("connect", redis, "--codec", "resp", data=commands)
        *replies, error = done.stdout.splitlines()

        assert (0, ['"PONG"', '"OK"', '"é"', "null", "1"], "") == (done.returncode, replies, done.stderr)
        assert error.startswith('{"error": "ERR unknown command \'NOSUCH\'')

    def test_connect_in_resp3(self, redis, penstock):
        """A map is an object."""
        commands = '["HELLO", "3"]\n["HSET", "h", "a", "1"]\n["HGETALL", "h"]\n'
        done = penstock("connect", redis, "--codec", "resp:protocol=3", data=commands)

        assert (0, ["1", '{"a": "1"}']) == (done.returncode, done.stdout.splitlines()[1:])

    def test_a_health_check(self, redis, penstock):
        """With the codec, and without one: Redis takes a line as well."""
        with_codec = penstock("send", redis, "--codec", "resp", '["PING"]', "--expect", '^"PONG"$')
        with_lines = penstock("send", redis, "--codec", "lines", "PING", "--expect", r"^\+PONG$")
        failing = penstock("send", redis, "--codec", "resp", '["GET", "k"]', "--expect", "up")

        assert (0, 0, 1) == (with_codec.returncode, with_lines.returncode, failing.returncode)

    def test_a_load(self, redis, penstock):
        """As many replies as requests, none of them an error of the connection."""
        options = ("--message", '["GET", "k"]', "-n", "100", "--depth", "5", "--assert", "errors==0")
        done = penstock("bench", redis, "--codec", "resp", *options)

        assert (0, "") == (done.returncode, done.stderr)

    def test_the_synchronous_library(self, redis):
        """SET and GET, and an error that is a reply."""
        with library.connect_sync(redis, codec="resp") as conn:
            replies = [conn.request(each, 20) for each in ([b"SET", b"k", b"v"], [b"GET", b"k"], [b"NOSUCH"])]

        assert [b"OK", b"v"] == replies[:2]
        assert isinstance(replies[2], ErrorReply)
        assert b"ERR" == replies[2].code

    async def test_the_asynchronous_library(self, redis):
        """The same in a loop."""
        async with await library.connect(redis, codec="resp") as conn:
            assert b"PONG" == await conn.request([b"PING"], 20)
            assert b"OK" == await conn.request([b"SET", b"k", b"v"], 20)
            assert b"v" == await conn.request([b"GET", b"k"], 20)
