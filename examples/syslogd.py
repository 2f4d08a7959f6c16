"""A syslog collector: what comes over UDP, TCP or a Unix socket is printed, a JSON object in each line.

    penstock serve examples/syslogd.py:syslogd --bind udp://127.0.0.1:5514 --bind tcp://127.0.0.1:5514
    logger --server 127.0.0.1 --port 5514 --udp --rfc5424 "the fuse has blown"

Wire format: RFC 5424, or RFC 3164 as programs write it. Over UDP and on unix+dgram a datagram is a message. On a stream
a message that begins with a digit is counted (RFC 6587 section 3.4.1), and one that begins with ``<`` ends with LF or
NUL (section 3.4.2): each by itself, so that both kinds of sender are understood. A message has 64 KiB at most.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import penstock
from penstock.codecs import NEED_DATA, Buffer, Codec, NeedData
from penstock.errors import BadFrameError, FrameTooLongError, LocalProtocolError, RemoteProtocolError

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", *(f"local{number}" for number in range(8))),
)
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
COUNT = re.compile(rb"\A([1-9][0-9]{0,4}) ")
END = re.compile(rb"[\n\0]")
PRIORITY = re.compile(r"<(0|[1-9]\d{0,2})>")
RFC_5424 = re.compile(
    r'1 (\S+) (\S+) (\S+) (\S+) (\S+) (-|(?:\[(?:[^]"\\]|\\.|"(?:[^"\\]|\\.)*")*\])+)(?: (.*))?', re.DOTALL
)
# The host is missing where a program writes to the machine's own collector.
RFC_3164 = re.compile(
    r"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (?:(\S*[^\s:]) )?([^\s:[]+)(?:\[(\d+)\])?: ?(.*)", re.DOTALL
)


class Syslog(Codec[bytes]):
    """Messages that are counted or end with LF or NUL, as each begins."""

    name = "syslog"
    max_frame_bytes = 64 * 1024

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        if not buffer:
            return NEED_DATA
        start, end, after = self._counted(buffer) if buffer[0] != ord("<") else self._ended(buffer)
        if (end if end >= 0 else len(buffer)) - start > self.max_frame_bytes:
            raise FrameTooLongError(None, self.max_frame_bytes)
        if not 0 <= after <= len(buffer):
            return NEED_DATA
        message = bytes(buffer[start:end])
        del buffer[:after]
        buffer.resume = None
        return message

    def _counted(self, buffer: Buffer) -> tuple[int, int, int]:
        count = COUNT.match(buffer)
        if count is None:
            if len(buffer) < 6 and buffer.isdigit():
                return 0, 0, -1
            raise BadFrameError("a message begins with its length and a space, or with <")
        end = count.end() + int(count[1])
        return count.end(), end, end

    def _ended(self, buffer: Buffer) -> tuple[int, int, int]:
        end = END.search(buffer, buffer.resume or 0)
        buffer.resume = len(buffer)
        return (0, -1, -1) if end is None else (0, end.start(), end.end())

    def finish(self, buffer: Buffer) -> bytes | NeedData:
        if buffer[:1] != b"<":
            return super().finish(buffer)
        message, buffer[:] = bytes(buffer), b""  # the last one of a sender that ends it by leaving
        return message

    def encode(self, message: bytes) -> bytes:
        if len(message) > self.max_frame_bytes or not message:
            raise LocalProtocolError(f"a message has 1 to {self.max_frame_bytes} bytes, not {len(message)}")
        return b"%d %b" % (len(message), message)

    def decode_datagram(self, data: bytes) -> bytes:
        return COUNT.sub(b"", data, count=1) if data[:1] != b"<" else data  # logger may count datagrams, too

    def encode_datagram(self, message: bytes) -> bytes:
        return message


def parse(message: bytes) -> dict[str, str]:
    """Read one message; RemoteProtocolError without a priority. Pure, so its tests need no connection."""
    text = message.decode("utf-8", "replace").rstrip("\n\0")
    priority = PRIORITY.match(text)
    if priority is None or int(priority[1]) >= 8 * len(FACILITIES):
        raise RemoteProtocolError("a message without a priority")
    return {
        name: value for name, value in _fields(int(priority[1]), text[priority.end() :]) if value not in (None, "-")
    }


def _fields(priority: int, text: str) -> Iterator[tuple[str, str]]:
    yield "facility", FACILITIES[priority // 8]
    yield "severity", SEVERITIES[priority % 8]
    if found := RFC_5424.fullmatch(text):
        names = ("time", "host", "app", "pid", "id", "data", "message")
        yield from zip(names, found.groups(), strict=True)
    elif found := RFC_3164.fullmatch(text):
        yield from zip(("time", "host", "app", "pid", "message"), found.groups(), strict=True)
    else:
        yield "message", text  # RFC 3164 section 4.3.3: whatever it is, it is one


@penstock.on_message(codec=Syslog())
def syslogd(message: bytes) -> None:
    """Print one message."""
    print(json.dumps(parse(message), ensure_ascii=False), flush=True)
