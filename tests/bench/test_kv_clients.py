"""The key-value example, and clients of Redis as they come."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest
import redis

from penstock.testing.thread import ServerThread

pytestmark = pytest.mark.outside

EXAMPLE = Path(__file__).parents[2] / "examples/kv.py"


@pytest.fixture(params=["pure", "native", "blocking"])
def port(request):
    """Where the example is served, with nothing in it."""
    if request.param == "native":
        pytest.importorskip("penstock.engines.native.engine")
    spec = importlib.util.spec_from_file_location("kv_served", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with ServerThread(module.kv, engine=request.param) as server:
        yield server.port


def run(*command, text=""):
    """Run a client and return what it prints."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.mark.parametrize("protocol", [None, 2, 3])
def test_redis_py_as_it_comes(port, protocol):
    """HELLO, CLIENT SETINFO, INCRBY, MULTI and EXEC, nulls, errors."""
    options = {} if protocol is None else {"protocol": protocol}
    with redis.Redis(port=port, client_name="test", socket_timeout=20, **options) as client:
        assert client.ping()
        assert (True, b"v", None) == (client.set("k", "v"), client.get("k"), client.get("absent"))
        assert (5, 7, 6) == (client.incr("n", 5), client.incrby("n", 2), client.decr("n"))
        assert (1, 1) == (client.delete("n", "absent"), client.exists("k"))
        with client.pipeline(transaction=True) as pipe:
            assert [True, 2, b"2", None] == pipe.set("a", 1).incr("a").get("a").get("absent").execute()
        with pytest.raises(redis.ResponseError, match="unknown command 'NOSUCH', with args beginning with: 'a'"):
            client.execute_command("NOSUCH", "a")
        assert {"save": ""} == client.config_get("save")


def test_redis_cli(port):
    """RESP3, a transaction typed in, and a mass insertion."""
    cli = ("redis-cli", "-p", str(port))

    assert "OK\n" == run(*cli, "-3", "set", "greeting", "hello")
    assert ["proto 3"] == [line for line in run(*cli, "-3", "hello", "3").splitlines() if line.startswith("proto")]
    assert "hello\nOK\nQUEUED\n1\n\n" == run(*cli, "-3", text="get greeting\nmulti\nincr z\nexec\nget none\n")
    loaded = run(*cli, "--pipe", text="*3\r\n$3\r\nSET\r\n$1\r\nq\r\n$1\r\n1\r\n*2\r\n$4\r\nINCR\r\n$1\r\nq\r\n")
    assert "errors: 0, replies: 2" in loaded
    assert "2\n" == run(*cli, "get", "q")


@pytest.mark.parametrize("version", [[], ["-3"]])
def test_redis_benchmark(port, version):
    """Inline and as arrays, in RESP2 and RESP3."""
    said = run(
        "redis-benchmark",
        "-p",
        str(port),
        *version,
        *["-t", "ping,set,get,incr", "-n", "500", "-c", "5", "-P", "4", "-q"],
    )

    for test in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR"):
        assert f"{test}: " in said
    assert "rror" not in said


def test_what_a_browser_sends_is_no_command(port):
    """The connection ends without an answer."""
    with redis.Redis(port=port, socket_timeout=20, protocol=2) as client:
        with pytest.raises(redis.ConnectionError):
            client.execute_command("POST", "/", "HTTP/1.1")
