r"""A memcached: the text protocol, for pymemcache, libmemcached, telnet.

    penstock serve examples/memcached.py:memcached --bind tcp://127.0.0.1:11211
    printf 'set greeting 0 0 5\r\nhello\r\nget greeting\r\nquit\r\n' | nc 127.0.0.1 11211

Wire format: protocol.txt of memcached 1.6. Commands: get, gets, set, add, replace, append, prepend, cas, delete, incr,
decr, touch, flush_all, stats, verbosity, version, quit. A key has 250 bytes at most and a value 1 MiB; above 64 MiB of
values the oldest ones go. What they do is in memcached_store.py.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from memcached_store import MAX_VALUE, Item, Store, instant

import penstock
from penstock.codecs import NEED_DATA, Buffer, Codec, NeedData
from penstock.errors import FrameTooLongError

MAX_LINE = 2048
QUIET = frozenset([b"delete", b"incr", b"decr", b"touch", b"flush_all", b"verbosity"])  # may be asked for no answer
# What announces a value: the command, a key, flags, expiry, bytes, the number of a cas.
ANNOUNCES = re.compile(
    rb"(?:(?:set|add|replace|append|prepend)|(cas)) +\S{1,250} +\d{1,10} +-?\d{1,10} +(\d{1,10})(?(1) +\d{1,20})"
    rb"(?: +noreply)? *\r?"
)


class Command(NamedTuple):
    words: list[bytes]
    value: bytes | None = None  # with its CRLF, where the line announces one


class Memcached(Codec[Command]):
    """A line, and as many bytes as it announces with their CRLF. Answers are sent as they are."""

    name = "memcached"
    message_type = Command
    max_frame_bytes = MAX_VALUE

    def decode(self, buffer: Buffer) -> Command | NeedData:
        end = buffer.find(b"\n", buffer.resume or 0)
        if (end if end >= 0 else len(buffer)) > MAX_LINE:
            raise FrameTooLongError(None, MAX_LINE)
        if end < 0:
            buffer.resume = len(buffer)
            return NEED_DATA
        after, value = end + 1, None
        if announced := ANNOUNCES.fullmatch(buffer, 0, end):
            after += int(announced[2]) + 2
            if int(announced[2]) > MAX_VALUE:
                raise FrameTooLongError(int(announced[2]), MAX_VALUE)
            buffer.resume = end  # where the search ends at once, when the rest has come
            if len(buffer) < after:
                return NEED_DATA
            value = bytes(buffer[end + 1 : after])
        command = Command(bytes(buffer[:end]).split(), value)
        del buffer[:after]
        buffer.resume = None
        return command

    def encode(self, message: bytes) -> bytes:  # type: ignore[override]  # commands come in, answers go out
        return message


store = Store()


@penstock.on_message(codec=Memcached())
def memcached(conn: penstock.ConnectionBase[Command], command: Command) -> bytes | None:
    """Answer one command."""
    words, value = command
    quiet = words[-1:] == [b"noreply"] and (value is not None or words[0] in QUIET)
    if quiet:
        words.pop()
    if words == [b"quit"]:
        conn.close()
        return None
    if value is None:
        answer = store.answer(words)
    elif not value.endswith(b"\r\n"):
        answer = b"CLIENT_ERROR bad data chunk"
    else:
        item = Item(words[2], value[:-2], instant(int(words[3])), int(words[5]) if words[0] == b"cas" else 0)
        answer = store.store(words[0], words[1], item)
    return None if quiet else answer + b"\r\n"
