"""What memcached.py keeps: keys, their items, and what each command does with them. No I/O."""

from __future__ import annotations

import re
import time
from math import inf
from typing import NamedTuple

import penstock

MAX_VALUE, MAX_VALUES = 1024 * 1024, 64 * 1024 * 1024
MONTH_S = 60 * 60 * 24 * 30  # an expiry that is longer is a date


class Item(NamedTuple):
    flags: bytes
    value: bytes
    expires: float
    unique: int = 0


NOTHING = Item(b"", b"", 0.0)


class Store:
    """Keys and their items, the oldest first. No I/O."""

    def __init__(self) -> None:
        self.items: dict[bytes, Item] = {}
        self.bytes = self.last = 0

    def get(self, key: bytes) -> Item | None:
        if self.items.get(key, NOTHING).expires <= time.time():
            self.pop(key)
        return self.items.get(key)

    def pop(self, key: bytes) -> None:
        self.bytes -= len(self.items.pop(key, NOTHING).value)

    def put(self, key: bytes, item: Item) -> bytes:
        self.pop(key)
        self.last += 1
        self.items[key] = item._replace(unique=self.last)
        self.bytes += len(item.value)
        while self.bytes > MAX_VALUES:
            self.pop(next(iter(self.items)))
        return b"STORED"

    def store(self, how: bytes, key: bytes, new: Item) -> bytes:
        old = self.get(key)
        if old is None:
            return self.put(key, new) if how in (b"set", b"add") else b"NOT_FOUND" if how == b"cas" else b"NOT_STORED"
        if how == b"add" or (how == b"cas" and old.unique != new.unique):
            return b"NOT_STORED" if how == b"add" else b"EXISTS"
        if how in (b"append", b"prepend"):
            new = old._replace(value=old.value + new.value if how == b"append" else new.value + old.value)
        return self.put(key, new) if len(new.value) <= MAX_VALUE else b"SERVER_ERROR object too large for cache"

    def answer(self, words: list[bytes]) -> bytes:
        """Answer a command that announces no value."""
        match words:
            case [b"get" | b"gets" as how, _, *_]:
                found = [(key, item) for key in words[1:] if (item := self.get(key)) is not None]
                return b"".join(_shown(key, item, unique=how == b"gets") for key, item in found) + b"END"
            case [b"touch" | b"incr" | b"decr", key, _] | [b"delete", key] if (item := self.get(key)) is None:
                return b"NOT_FOUND"
            case [b"delete", key]:
                self.pop(key)
                return b"DELETED"
            case [b"incr" | b"decr" as how, key, by] if by.isdigit() and len(by) <= 20:
                if not (item.value.isdigit() and len(item.value) <= 20):
                    return b"CLIENT_ERROR cannot increment or decrement non-numeric value"
                number = (int(item.value) + int(by)) % 2**64 if how == b"incr" else max(0, int(item.value) - int(by))
                self.put(key, item._replace(value=b"%d" % number))
                return b"%d" % number
            case [b"touch", key, expires] if re.fullmatch(rb"-?\d{1,10}", expires):
                self.items[key] = item._replace(expires=instant(int(expires)))
                return b"TOUCHED"
            case [b"flush_all"] | [b"flush_all", b"0"]:
                self.items, self.bytes = {}, 0
                return b"OK"
            case [b"verbosity", _]:
                return b"OK"
            case [b"version"]:
                return b"VERSION " + penstock.__version__.encode()
            case [b"stats"]:
                return b"STAT curr_items %d\r\nSTAT bytes %d\r\nEND" % (len(self.items), self.bytes)
        return b"ERROR"


def _shown(key: bytes, item: Item, *, unique: bool) -> bytes:
    number = b" %d" % item.unique if unique else b""
    return b"VALUE %b %b %d%b\r\n%b\r\n" % (key, item.flags, len(item.value), number, item.value)


def instant(seconds: int) -> float:
    """Return when an item expires: never, a number of seconds from now, or at a date."""
    return inf if seconds == 0 else seconds if seconds > MONTH_S else time.time() + seconds
