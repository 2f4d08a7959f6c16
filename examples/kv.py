"""A small key-value service that Redis clients can talk to: redis-py, redis-cli, redis-benchmark.

    penstock serve examples/kv.py:kv --bind tcp://127.0.0.1:6380
    redis-cli -p 6380 -3 set greeting hello

Wire format: RESP2, or RESP3 after HELLO 3, as in the Redis protocol specification; commands may be typed in words.
Commands: PING, ECHO, SET, GET, DEL, EXISTS, INCR, INCRBY, DECR, DECRBY; of the connection HELLO, CLIENT, SELECT, MULTI,
EXEC, DISCARD, CONFIG GET, COMMAND, QUIT. The replies and the error texts are those of Redis 7. Everything is kept in
memory until it is deleted. A value is 1 MiB at most; larger ones by ``--codec resp:inline=yes,max=100MB``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import penstock
from penstock.codecs.resp import ErrorReply, NullArray, Resp, SimpleString

Reply = bytes | int | list[Any] | dict[Any, Any] | NullArray | None
Connection = penstock.ConnectionBase[Any]

OK = SimpleString(b"OK")
PONG = SimpleString(b"PONG")
QUEUED = SimpleString(b"QUEUED")
INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
HIGHEST = 2**63 - 1
ANY = sys.maxsize
STRINGS = frozenset([bytes])
# The first words of an HTTP request: a browser that was made to send commands is let go, as Redis does.
HTTP = frozenset([b"POST", b"HOST:"])
# What an error says of a command nobody knows, in bytes.
LONGEST_QUOTE = 128
CONFIG = {b"save": b"", b"appendonly": b"no"}


class Store:
    """Keys, their values, and what each command does with them. No I/O."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        # By name: what is called, and the least and the most words there may be, the name among them.
        self._commands: dict[bytes, tuple[Callable[..., Reply], int, int]] = {
            b"PING": (self._ping, 1, 2),
            b"ECHO": (self._echo, 2, 2),
            b"SET": (self._set, 3, ANY),
            b"GET": (self._values.get, 2, 2),
            b"DEL": (self._delete, 2, ANY),
            b"EXISTS": (self._exists, 2, ANY),
            b"INCR": (self._increment, 2, 2),
            b"INCRBY": (self._increment, 3, 3),
            b"DECR": (self._decrement, 2, 2),
            b"DECRBY": (self._decrement, 3, 3),
        }

    def execute(self, command: list[bytes], conn: Connection | None = None) -> Reply:
        """Run one command: its name, in any case, and its arguments. Never raises; what is wrong is an `ErrorReply`.

        Args:
            command: One word or more.
            conn: Whose it is; None: commands of a connection are not known.
        """
        name = command[0]
        known = self._commands.get(name) or self._commands.get(name.upper())
        if known is None:
            return _unknown(command) if conn is None else _of_connection(conn, command)
        function, least, most = known
        if not least <= len(command) <= most:
            return _wrong_number(name)
        return function(*command[1:])

    def refuses(self, command: list[bytes]) -> ErrorReply | None:
        """Return what is wrong with a command that is to be run later; None if it may be run."""
        known = self._commands.get(command[0].upper())
        if known is None:
            return _unknown(command)
        return None if known[1] <= len(command) <= known[2] else _wrong_number(command[0])

    def _ping(self, text: bytes = PONG) -> Reply:
        return text

    def _echo(self, text: bytes) -> Reply:
        return text

    def _set(self, key: bytes, value: bytes, *options: bytes) -> Reply:
        if options:
            return _error(b"ERR syntax error")
        self._values[key] = value
        return OK

    def _delete(self, *keys: bytes) -> Reply:
        return sum(self._values.pop(key, None) is not None for key in keys)

    def _exists(self, *keys: bytes) -> Reply:
        return sum(key in self._values for key in keys)

    def _increment(self, key: bytes, by: bytes = b"1") -> Reply:
        step = _integer(by)
        number = _integer(self._values.get(key, b"0"))
        if number is None or step is None:
            return _error(b"ERR value is not an integer or out of range")
        if not -HIGHEST - 1 <= number + step <= HIGHEST:
            return _error(b"ERR increment or decrement would overflow")
        self._values[key] = b"%d" % (number + step)
        return number + step

    def _decrement(self, key: bytes, by: bytes = b"1") -> Reply:
        step = _integer(by)
        if step is None:
            return _error(b"ERR value is not an integer or out of range")
        if step == -HIGHEST - 1:
            return _error(b"ERR decrement would overflow")
        return self._increment(key, b"%d" % -step)


def _integer(text: bytes) -> int | None:
    """Return a number of 64 bits, None for what is none."""
    if INTEGER.fullmatch(text) and -HIGHEST - 1 <= (number := int(text)) <= HIGHEST:
        return number
    return None


# -- of a connection: its protocol, and the commands it has queued, which are its state --------------------------------


def _of_connection(conn: Connection, command: list[bytes]) -> Reply:
    name = command[0].upper()
    known = OF_CONNECTION.get(name)
    if known is not None:
        function, least, most = known
        return function(conn, command) if least <= len(command) <= most else _wrong_number(command[0])
    if name in HTTP:
        conn.abort()
        return None
    return _unknown(command)


def _speaks_3(conn: Connection) -> bool:
    return isinstance(conn.codec, Resp) and conn.codec.protocol == 3


@cache
def _codec(protocol: int, max_frame_bytes: int) -> Resp:
    return Resp(protocol=3 if protocol == 3 else 2, inline=True, max_frame_bytes=max_frame_bytes)


def _map(conn: Connection, entries: dict[Any, Any]) -> Reply:
    """Return a map, which in RESP2 is an array of keys and values."""
    return entries if _speaks_3(conn) else [part for entry in entries.items() for part in entry]


def _hello(conn: Connection, command: list[bytes]) -> Reply:
    rest = command[1:]
    if rest:
        if rest[0] not in (b"2", b"3"):
            bad = _integer(rest[0]) is None
            return _error(
                b"ERR Protocol version is not an integer or out of range"
                if bad
                else b"NOPROTO unsupported protocol version"
            )
        if len(rest) > 1 and not (rest[1].upper() == b"SETNAME" and len(rest) == 3):
            return _error(b"ERR Syntax error in HELLO option '%b'" % rest[1])
        if (rest[0] == b"3") != _speaks_3(conn):
            conn.set_codec(_codec(int(rest[0]), conn.codec.max_frame_bytes))  # before the reply, which is in it
    entries: dict[Any, Any] = {
        b"server": b"penstock",
        b"version": penstock.__version__.encode(),
        b"proto": 3 if _speaks_3(conn) else 2,
        b"id": conn.id,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }
    return _map(conn, entries)


def _client(conn: Connection, command: list[bytes]) -> Reply:
    match command[1].upper(), len(command):
        case (b"SETINFO", 4) | (b"SETNAME", 3):
            return OK
        case b"ID", 2:
            return conn.id
        case b"GETNAME", 2:
            return None
    return _error(b"ERR unknown subcommand '%b'. Try CLIENT HELP." % command[1][:LONGEST_QUOTE])


def _select(_: Connection, command: list[bytes]) -> Reply:
    index = _integer(command[1])
    if index is None:
        return _error(b"ERR value is not an integer or out of range")
    return OK if index == 0 else _error(b"ERR DB index is out of range")


def _multi(conn: Connection, _: list[bytes]) -> Reply:
    conn.state = []
    return OK


def _exec_without(_: Connection, command: list[bytes]) -> Reply:
    return _error(b"ERR %b without MULTI" % command[0].upper())


def _config(conn: Connection, command: list[bytes]) -> Reply:
    if command[1].upper() != b"GET":
        return _error(b"ERR unknown subcommand '%b'. Try CONFIG HELP." % command[1][:LONGEST_QUOTE])
    wanted = [name.lower() for name in command[2:]]
    return _map(conn, {name: value for name, value in CONFIG.items() if name in wanted})


def _command(conn: Connection, command: list[bytes]) -> Reply:
    return _map(conn, {}) if [word.upper() for word in command[1:2]] == [b"DOCS"] else []


def _quit(conn: Connection, _: list[bytes]) -> Reply:
    conn.close()
    return OK


OF_CONNECTION: dict[bytes, tuple[Callable[[Connection, list[bytes]], Reply], int, int]] = {
    b"HELLO": (_hello, 1, ANY),
    b"CLIENT": (_client, 2, ANY),
    b"SELECT": (_select, 2, 2),
    b"MULTI": (_multi, 1, 1),
    b"EXEC": (_exec_without, 1, 1),
    b"DISCARD": (_exec_without, 1, 1),
    b"CONFIG": (_config, 3, ANY),
    b"COMMAND": (_command, 1, ANY),
    b"QUIT": (_quit, 1, ANY),
}


def _queue(conn: Connection, queue: list[list[bytes] | None], command: list[bytes]) -> Reply:
    """Keep a command until EXEC; None stands for one that was refused."""
    match command[0].upper():
        case b"EXEC" if len(command) == 1:
            conn.state = None
            if None in queue:
                return _error(b"EXECABORT Transaction discarded because of previous errors.")
            return [store.execute(each, conn) for each in queue if each is not None]
        case b"DISCARD" if len(command) == 1:
            conn.state = None
            return OK
        case b"MULTI" if len(command) == 1:
            return _error(b"ERR MULTI calls can not be nested")
        case b"QUIT":
            return _quit(conn, command)
    error = store.refuses(command)
    queue.append(command if error is None else None)
    return QUEUED if error is None else error


# -- errors ------------------------------------------------------------------------------------------------------------


def _unknown(command: list[bytes]) -> ErrorReply:
    # As Redis cuts it, who prints both as strings of C.
    quoted = b""
    for argument in command[1:]:
        if len(quoted) >= LONGEST_QUOTE:
            break
        quoted += b"'%b' " % argument[: LONGEST_QUOTE - len(quoted)].partition(b"\0")[0]
    name = command[0][:LONGEST_QUOTE].partition(b"\0")[0]
    return _error(b"ERR unknown command '%b', with args beginning with: %b" % (name, quoted))


def _wrong_number(name: bytes) -> ErrorReply:
    return _error(b"ERR wrong number of arguments for '%b' command" % name.lower())


def _error(text: bytes) -> ErrorReply:
    # What a peer sent may hold CR and LF, and an error is one line.
    return ErrorReply(text.replace(b"\r", b" ").replace(b"\n", b" "))


store = Store()


@penstock.on_message(codec="resp:inline=yes")
def kv(conn: penstock.ConnectionBase[Any], command: object) -> object:
    """Answer Redis clients."""
    if not isinstance(command, list) or not STRINGS.issuperset(map(type, command)):
        conn.close()  # after the reply, as Redis does: such a peer does not speak the protocol
        return ErrorReply(b"ERR Protocol error: expected an array of bulk strings")
    queue = conn.state
    reply = store.execute(command, conn) if queue is None else _queue(conn, queue, command)
    return penstock.NULL if reply is None else reply
