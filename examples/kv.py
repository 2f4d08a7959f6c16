"""A small key-value service that Redis clients can talk to.

    penstock serve examples/kv.py:kv --bind tcp://127.0.0.1:6380
    redis-cli -p 6380 set greeting hello

Wire format: RESP2, as in the Redis protocol specification. Commands: PING, ECHO, SET, GET, DEL, EXISTS, INCR, with the
replies and the error texts of Redis 7. Everything is kept in memory until it is deleted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import penstock
from penstock.codecs.resp import ErrorReply, SimpleString

Reply = bytes | int | None

OK = SimpleString(b"OK")
PONG = SimpleString(b"PONG")
INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
HIGHEST = 2**63 - 1
ANY = sys.maxsize
STRINGS = frozenset([bytes])


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
        }

    def execute(self, command: list[bytes]) -> Reply:
        """Run one command: its name, in any case, and its arguments. Never raises; what is wrong is an `ErrorReply`."""
        name = command[0]
        known = self._commands.get(name) or self._commands.get(name.upper())
        if known is None:
            quoted = b"".join(b"'%b' " % argument for argument in command[1:])
            return _error(b"ERR unknown command '%b', with args beginning with: %b" % (name, quoted))
        function, least, most = known
        if not least <= len(command) <= most:
            return _error(b"ERR wrong number of arguments for '%b' command" % name.lower())
        return function(*command[1:])

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

    def _increment(self, key: bytes) -> Reply:
        text = self._values.get(key, b"0")
        if not INTEGER.fullmatch(text) or not -HIGHEST - 1 <= int(text) <= HIGHEST:
            return _error(b"ERR value is not an integer or out of range")
        number = int(text) + 1
        if number > HIGHEST:
            return _error(b"ERR increment or decrement would overflow")
        self._values[key] = b"%d" % number
        return number


def _error(text: bytes) -> ErrorReply:
    # What a peer sent may hold CR and LF, and an error is one line.
    return ErrorReply(text.replace(b"\r", b" ").replace(b"\n", b" "))


store = Store()


@penstock.on_message(codec="resp")
def kv(conn: penstock.ConnectionBase[Reply], command: object) -> Reply:
    """Answer Redis clients: PING, ECHO, SET, GET, DEL, EXISTS, INCR."""
    if not isinstance(command, list) or not STRINGS.issuperset(map(type, command)):
        conn.close()  # after the reply, as Redis does: such a peer does not speak the protocol
        return ErrorReply(b"ERR Protocol error: expected an array of bulk strings")
    if not command:
        return None
    reply = store.execute(command)
    if reply is None:
        conn.post(None)  # a null: to return None is to say nothing
    return reply
