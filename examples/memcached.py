r"""A memcached: the text protocol, for pymemcache, libmemcached, telnet.

    penstock serve examples/memcached.py:memcached --bind tcp://127.0.0.1:11211
    printf 'set greeting 0 0 5\r\nhello\r\nget greeting\r\nquit\r\n' | nc 127.0.0.1 11211

Wire format: protocol.txt of memcached 1.6. A value has 1 MiB at most, all items with what Python holds for them 64 MiB.
"""

import re
import time
from collections import OrderedDict
from typing import NamedTuple

import penstock

MAX_VALUE, MAX_ITEMS, OVERHEAD = 1024 * 1024, 64 * 1024 * 1024, 512  # bytes of one, of all, of Python's for each
QUIET = (b"delete", b"incr", b"decr", b"touch", b"flush_all", b"verbosity")  # may be asked for no answer
ANNOUNCES = re.compile(  # a value: the command, a key, flags, expiry, bytes, the number of a cas
    rb"(set|add|replace|append|prepend|(cas)) (\S{1,250}) (\d{1,10}) (-?\d{1,10}) (\d+)(?(2) (\d{1,20}))( noreply)?"
)


def instant(seconds: int) -> float:  # 0: never; up to 30 days: from now; beyond: a date
    return float("inf") if seconds == 0 else seconds if seconds > 30 * 86400 else time.time() + seconds


class Item(NamedTuple):
    flags: bytes
    value: bytes
    expires: float
    unique: int = 0

    def shown(self, key: bytes, how: bytes) -> bytes:
        size = b"%d %d" % (len(self.value), self.unique) if how == b"gets" else b"%d" % len(self.value)
        return b"VALUE %b %b %b\r\n%b\r\n" % (key, self.flags, size, self.value)


class Store:
    """Keys and their items, the oldest first. No I/O."""

    def __init__(self) -> None:
        self.items = OrderedDict[bytes, Item]()
        self.bytes = 0

    def get(self, key: bytes) -> Item | None:
        item = self.items.get(key)
        return item if item is None or item.expires > time.time() else self.pop(key)

    def pop(self, key: bytes) -> None:
        if item := self.items.pop(key, None):
            self.bytes -= len(key) + len(item.value) + OVERHEAD

    def put(self, key: bytes, item: Item) -> bytes:
        self.pop(key)
        self.items[key] = item._replace(unique=time.monotonic_ns())
        self.bytes += len(key) + len(item.value) + OVERHEAD
        while self.bytes > MAX_ITEMS:
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
            case [b"touch" | b"incr" | b"decr", _, _] | [b"delete", _] if not item:
                return b"NOT_FOUND"
            case [b"delete", key]:
                return self.pop(key) or b"DELETED"
            case [b"incr" | b"decr", _, _] if not (item.value.isdigit() and len(item.value) <= 20):
                return b"CLIENT_ERROR cannot increment or decrement non-numeric value"
            case [b"incr" | b"decr" as how, key, by] if by.isdigit() and len(by) <= 20:
                number = (int(item.value) + int(by)) % 2**64 if how == b"incr" else max(0, int(item.value) - int(by))
                return self.put(key, item._replace(value=b"%d" % number)) and b"%d" % number
            case [b"touch", key, expires] if re.fullmatch(rb"-?\d{1,10}", expires):
                self.items[key] = item._replace(expires=instant(int(expires)))
                return b"TOUCHED"
            case [b"flush_all"] | [b"flush_all", b"0"] | [b"verbosity", _]:
                if words[0] == b"flush_all":
                    self.items, self.bytes = OrderedDict(), 0
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
        elif len(words) > 1 and words[0] in (b"get", b"gets"):
            for key in filter(store.get, words[1:]):  # one item at a time: all may be more than there is memory
                await conn.send_raw(store.items[key].shown(key, words[0]))
            answer, quiet = b"END", b""
        else:
            quiet = words[-1:] == [b"noreply"] and words[0] in QUIET and words.pop()
            answer = store.answer(words)
        if not quiet:
            await conn.send_raw(answer + b"\r\n")
