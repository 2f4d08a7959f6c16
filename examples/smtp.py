"""A mail server that delivers all mail into one Maildir: to see what programs send. It relays nothing.

    MAILDIR=mail penstock serve examples/smtp.py:smtp --bind tcp://127.0.0.1:2525
    swaks --server 127.0.0.1:2525 --to somebody@example.org  # --tls, with ?tls=start after the port and --tls-cert

Wire format: RFC 5321 with SIZE, 8BITMIME and PIPELINING. A line ends with CRLF alone (section 2.3.8): a server that
takes a bare LF for an end reads a second message where others see a part of the first (SMTP smuggling).
"""

from __future__ import annotations

import asyncio
import mailbox
import os
import re
from dataclasses import dataclass, field

import penstock
from penstock.errors import RemoteProtocolError

MAILDIR = os.environ.get("MAILDIR", "mail")
MAX_MESSAGE, MAX_RECIPIENTS = 10 * 1024 * 1024, 100
FROM = re.compile(rb"FROM: ?<([^<>\s]*)>(?: .*)?", re.IGNORECASE)
TO = re.compile(rb"TO: ?<([^<>\s]+)>(?: .*)?", re.IGNORECASE)
SIZE = re.compile(rb" SIZE=([0-9]{1,20})", re.IGNORECASE)
EXTENSIONS = b"250-penstock\r\n250-8BITMIME\r\n250-PIPELINING\r\n%b250 SIZE %d"
TOO_LARGE = b"552 a message has %d bytes at most" % MAX_MESSAGE


@dataclass
class Session:
    """What one client has said so far."""

    offers_tls: bool = False
    hello: bytes = b""
    sender: bytes | None = None
    recipients: list[bytes] = field(default_factory=list)

    def command(self, line: bytes) -> bytes:
        """Answer one command, but for DATA and QUIT. Pure, so its tests need no connection."""
        verb, _, rest = line.partition(b" ")
        match verb.upper():
            case b"HELO" | b"EHLO" if rest:
                self.reset(rest)
                tls = b"250-STARTTLS\r\n" * self.offers_tls
                return b"250 penstock" if verb.upper() == b"HELO" else EXTENSIONS % (tls, MAX_MESSAGE)
            case b"MAIL":
                return self._mail(rest)
            case b"RCPT":
                return self._recipient(rest)
            case b"RSET":
                self.reset(self.hello)
                return b"250 forgotten"
            case b"NOOP":
                return b"250 fine"
        return b"500 that is no command, or not all of it"

    def reset(self, hello: bytes) -> None:
        self.hello, self.sender, self.recipients = hello, None, []

    def _mail(self, rest: bytes) -> bytes:
        path, size = FROM.fullmatch(rest), SIZE.search(rest)
        if not self.hello or self.sender is not None:
            return b"503 EHLO comes first, and MAIL once"
        if path is None:
            return b"501 write MAIL FROM:<address>"
        if size is not None and int(size[1]) > MAX_MESSAGE:
            return TOO_LARGE
        self.sender = path[1]
        return b"250 that is whom it is from"

    def _recipient(self, rest: bytes) -> bytes:
        path = TO.fullmatch(rest)
        if self.sender is None:
            return b"503 MAIL comes first"
        if path is None:
            return b"501 write RCPT TO:<address>"
        if len(self.recipients) == MAX_RECIPIENTS:
            return b"452 a message has %d recipients at most" % MAX_RECIPIENTS
        self.recipients.append(path[1])
        return b"250 that is whom it is for"


async def _receive_mail(conn: penstock.Connection[bytes], session: Session) -> bytes:
    """Take the lines of one message, up to the dot, and deliver it; return the answer."""
    if not session.recipients:
        return b"503 RCPT comes first"
    await conn.send(b"354 a line with a dot ends it")
    lines = [b"Return-Path: <%b>" % (session.sender or b""), *(b"Delivered-To: " + each for each in session.recipients)]
    size = 0
    session.reset(session.hello)
    while (line := await conn.receive()) != b".":
        size += len(line) + 2
        if size <= MAX_MESSAGE:  # what is more is read, and kept nowhere
            lines.append(line.removeprefix(b"."))  # section 4.5.2
    if size > MAX_MESSAGE:
        return TOO_LARGE
    await asyncio.to_thread(mailbox.Maildir(MAILDIR).add, b"\n".join([*lines, b""]))
    return b"250 delivered"


@penstock.on_connection(codec="lines:newline=crlf,strict=yes,max=2KiB")
async def smtp(conn: penstock.Connection[bytes]) -> None:
    """Serve one client until it quits."""
    session = Session(offers_tls=bool(conn.server.config.tls.cert) and conn.tls is None)
    await conn.send(b"220 penstock ESMTP")
    try:
        async for line in conn:
            if line.upper() == b"QUIT":
                return await conn.send(b"221 goodbye")
            if line.upper() == b"STARTTLS" and session.offers_tls:
                conn.start_tls(reply=b"220 go ahead")
                session = Session()  # what was said before is forgotten (RFC 3207 section 4.2)
                continue
            answer = await _receive_mail(conn, session) if line.upper() == b"DATA" else session.command(line)
            for each in answer.split(b"\r\n"):
                await conn.send(each)
    except RemoteProtocolError as error:
        await conn.send(b"500 " + str(error).encode())  # the connection closes after it
