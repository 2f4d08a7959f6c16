r"""A memcached: the text protocol, for pymemcache, libmemcached, telnet.

    penstock serve examples/memcached.py:memcached --bind tcp://127.0.0.1:11211
    printf 'set greeting 0 0 5\r\nhello\r\nget greeting\r\nquit\r\n' | nc 127.0.0.1 11211

Wire format: protocol.txt of memcached 1.6, as far as its clients go. A value has 1 MiB at most, all of them 64 MiB.
"""

import re
import time
from typing import NamedTuple

import penstock

MAX_VALUE, MAX_VALUES = 1024 * 1024, 64 * 1024 * 1024
QUIET = (b"delete", b"incr", b"decr", b"touch", b"flush_all", b"verbosity")  # may be asked for no answer
# What announces a value: the command, a key, flags, expiry, bytes, the number of a cas.
ANNOUNCES = re.compile(
    rb"(set|add|replace|append|prepend|(cas)) (\S{1,250}) (\d{1,9}) (-?\d{1,10}) (\d{1,9})(?(2) (\d{1,20}))( noreply)?"
)


def instant(seconds: int) -> float:  # never, so many from now, or, beyond 30 days of them, a date
    return float("inf") if seconds == 0 else seconds if seconds > 30 * 86400 else time.time() + seconds


class Item(NamedTuple):
    flags: bytes
    value: bytes
    expires: float
    unique: int = 0

    def shown(self, key: bytes, how: bytes) -> bytes:
        unique = b" %d" % self.unique * (how == b"gets")
        return b"VALUE %b %b %d%b\r\n%b\r\n" % (key, self.flags, len(self.value), unique, self.value)


class Store:
    """Keys and their items, the oldest first. No I/O."""

    def __init__(self) -> None:
        self.items: dict[bytes, Item] = {}
        self.bytes = 0

    def get(self, key: bytes) -> Item | None:
        item = self.items.get(key)
        return item if item is None or item.expires > time.time() else self.pop(key)

    def pop(self, key: bytes) -> None:
        if item := self.items.pop(key, None):
            self.bytes -= len(item.value)

    def put(self, key: bytes, item: Item) -> bytes:
        self.pop(key)
        self.items[key] = item._replace(unique=time.monotonic_ns())
        self.bytes += len(item.value)
        while self.bytes > MAX_VALUES:
            self.pop(next(iter(self.items)))
        return b"STORED"

    def store(self, how: bytes, key: bytes, new: Item) -> bytes:
        old = self.get(key)
        if (old is None) is not (how == b"add") and how != b"set":
            return b"NOT_FOUND" if how == b"cas" else b"NOT_STORED"
        if old is not None and how == b"cas" and old.unique != new.unique:
            return b"EXISTS"
        if old is not None and how in (b"append", b"prepend"):
            new = old._replace(value=old.value + new.value if how == b"append" else new.value + old.value)
        return self.put(key, new) if len(new.value) <= MAX_VALUE else b"SERVER_ERROR object too large for cache"

    def answer(self, words: list[bytes]) -> bytes:
        item = self.get(words[1]) if len(words) > 1 else None
        match words:  # of a command that announces no value
            case [b"get" | b"gets" as how, _, *_]:
                return b"".join([item.shown(key, how) for key in words[1:] if (item := self.get(key))]) + b"END"
            case [b"touch" | b"incr" | b"decr", _, _] | [b"delete", _] if not item:
                return b"NOT_FOUND"
            case [b"delete", key]:
                self.pop(key)
                return b"DELETED"
            case [b"incr" | b"decr", _, _] if not (item.value.isdigit() and len(item.value) <= 20):
                return b"CLIENT_ERROR cannot increment or decrement non-numeric value"
            case [b"incr" | b"decr" as how, key, by] if by.isdigit() and len(by) <= 20:
                number = (int(item.value) + int(by)) % 2**64 if how == b"incr" else max(0, int(item.value) - int(by))
                self.put(key, item._replace(value=b"%d" % number))
                return b"%d" % number
            case [b"touch", key, expires] if re.fullmatch(rb"-?\d{1,10}", expires):
                self.items[key] = item._replace(expires=instant(int(expires)))
                return b"TOUCHED"
            case [b"flush_all"] | [b"flush_all", b"0"] | [b"verbosity", _]:
                if words[0] == b"flush_all":
                    self.items, self.bytes = {}, 0
                return b"OK"
            case [b"version"]:
                return b"VERSION " + penstock.__version__.encode()
            case [b"stats"]:
                return b"STAT curr_items %d\r\nSTAT bytes %d\r\nEND" % (len(self.items), self.bytes)
        return b"ERROR"


store = Store()


@penstock.on_connection(codec="lines:max=2KiB")
async def memcached(conn: penstock.Connection[bytes]) -> None:
    """Answer one client: a command is a line, and may announce how many bytes follow it."""
    async for line in conn:
        if (words := line.split()) == [b"quit"]:
            return
        if announced := ANNOUNCES.fullmatch(b" ".join(words)):
            how, _, key, flags, expires, size, unique, quiet = announced.groups()
            value = await conn.receive_exactly(int(size) + 2, max_bytes=MAX_VALUE + 2)
            item = Item(flags, value[:-2], instant(int(expires)), int(unique or 0))
            answer = store.store(how, key, item) if value.endswith(b"\r\n") else b"CLIENT_ERROR bad data chunk"
        else:
            quiet = words[-1:] == [b"noreply"] and words[0] in QUIET and words.pop()
            answer = store.answer(words)
        if not quiet:
            await conn.send_raw(answer + b"\r\n")
