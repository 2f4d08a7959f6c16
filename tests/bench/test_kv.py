"""The key-value example: the replies of Redis, to the byte."""

import importlib.util
import shutil
import socket
from pathlib import Path

import pytest

from bench import contestants, machine
from bench.contestants import Interpreters
from bench.process import Server
from penstock.codecs.resp import Resp

ROOT = Path(__file__).parents[2]
CORE = machine.choose_cores().server

# Each runs against one store, in order.
COMMANDS = [
    [b"PING"],
    [b"ping", b"hello"],
    [b"ECHO", b"a\r\nb\x00"],
    [b"GET", b"k"],
    [b"SET", b"k", b"v"],
    [b"GET", b"k"],
    [b"gEt", b"k"],
    [b"SET", b"k", b""],
    [b"GET", b"k"],
    [b"EXISTS", b"k", b"k", b"absent"],
    [b"DEL", b"k", b"absent"],
    [b"EXISTS", b"k"],
    [b"INCR", b"n"],
    [b"INCR", b"n"],
    [b"GET", b"n"],
    [b"SET", b"n", b"-1"],
    [b"INCR", b"n"],
    *([command, b"n", *rest] for text in (b"abc", b" 1", b"+1", b"01", b"1_0", b"-0", b"1.0", b"", b"9" * 19, b"9" * 30)
      for command, *rest in ([b"SET", text], [b"INCR"])),
    [b"SET", b"n", b"9223372036854775806"],
    [b"INCR", b"n"],
    [b"INCR", b"n"],
    [b"SET", b"n", b"-9223372036854775808"],
    [b"INCR", b"n"],
    [b"GET"],
    [b"GET", b"a", b"b"],
    [b"SET", b"a"],
    [b"SET", b"a", b"b", b"c"],
    [b"DEL"],
    [b"EXISTS"],
    [b"INCR"],
    [b"ECHO"],
    [b"PING", b"a", b"b"],
    [b"NOSUCH"],
    [b"NoSuch", b"a", b"b c"],
    [b"NOSUCH", b"a\r\n+OK"],
    [b"x" * 300, b"y" * 100, b"z" * 100, b"more"],
    [b"NOSUCH", *[b"word"] * 50],
    [b"NO\0SUCH", b"a\0b"],
    [b"SET", b"n", b"10"],
    [b"INCRBY", b"n", b"5"],
    [b"INCRBY", b"n", b"-20"],
    [b"INCRBY", b"n", b"1.5"],
    [b"DECR", b"n"],
    [b"DECRBY", b"n", b"9223372036854775807"],
    [b"DECRBY", b"n", b"9223372036854775807"],
    [b"DECRBY", b"n", b"-9223372036854775808"],
    [b"INCRBY", b"n"],
]  # fmt: skip


@pytest.fixture
def store():
    """A store of its own, from the example's file."""
    spec = importlib.util.spec_from_file_location("kv", ROOT / "examples/kv.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Store()


def replies_of(store):
    """Return the bytes of every reply."""
    return [Resp().encode(store.execute(command)) for command in COMMANDS]


def test_the_replies_are_those_of_redis(store):
    """Each command, in order, sent to redis-server as well."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    redis = contestants.BY_KEY["redis"]
    with Server(redis.command(Interpreters(), "resp"), CORE) as server:
        theirs = ask(server.port)

    assert theirs == replies_of(store)


def ask(port):
    """Send the commands one at a time; return the bytes of each reply."""
    found = []
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        for command in COMMANDS:
            client.sendall(Resp().encode(command))
            reply = client.recv(65536)
            while not whole(reply):
                reply += client.recv(65536)
            found.append(reply)
    return found


def whole(data):
    """Return whether the bytes are one reply."""
    _, taken = Resp().decode_many(data, 1)
    return taken == len(data) > 0


def converse(wire):
    """Send ``wire`` and EOF to the service on the pure engine; return all it says until its own EOF."""
    with (
        Server(contestants.BY_KEY["kv-pure"].command(Interpreters(), "resp"), CORE) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as client,
    ):
        client.sendall(wire)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_the_service_sends_what_the_store_says(store):
    """All commands in one write: the replies in order, nulls and errors among them; an empty command has none."""
    got = converse(b"".join(Resp().encode(command) for command in COMMANDS) + b"*0\r\n")

    assert b"".join(replies_of(store)) == got


@pytest.mark.parametrize(
    "wire", [b":1\r\n", b"+GET\r\n", b"*1\r\n:1\r\n", b"*1\r\n+PING\r\n", b"*1\r\n*1\r\n$1\r\nx\r\n"]
)
def test_what_is_no_command_is_answered_and_closed(wire):
    """Well-formed RESP that no Redis client sends; what follows it is not looked at."""
    got = converse(wire + b"*1\r\n$4\r\nPING\r\n")

    assert b"-ERR Protocol error: expected an array of bulk strings\r\n" == got
