"""What a peer of `connections.py` does: in clear or over TLS, as the protocol allows and as it does not."""

from __future__ import annotations

import contextlib
import ctypes
import random
import socket
import ssl
import struct
import time
from typing import Any

from penstock.testing.ciphered import CipheredSocket

BEGIN_TLS = b"starttls"
RESET = struct.pack("ii", 1, 0)


class SslSocket(ctypes.Structure):
    """The beginning of an object of `_ssl`, up to its ``SSL*``."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("count", "type", "socket", "ssl")]


class Peer:
    """Sockets to one server, and what is done with them.

    Args:
        rng: Chooses.
        port: Where the server is, on loopback.
        tls: "tls" to speak it from the beginning, "start" to have some handlers begin it, "" for none.
    """

    def __init__(self, rng: random.Random, port: int, tls: str = "") -> None:
        self.rng = rng
        self.port = port
        self.tls = tls
        self.socks: list[Any] = []

    def connect(self) -> None:
        """Have one more."""
        sock: Any = socket.create_connection(("127.0.0.1", self.port), 1.0)
        self.socks.append(sock)
        if self.tls == "tls" and self.rng.random() < 0.9:
            self.encipher(sock)
        elif self.tls == "start" and self.rng.random() < 0.7:
            sock.sendall(BEGIN_TLS + b"\n")
            if BEGIN_TLS in sock.recv(100):
                self.encipher(sock)
        self.socks[-1].settimeout(0.01)

    def encipher(self, sock: socket.socket) -> None:
        """Speak TLS on one, which is closed when that fails."""
        self.socks.remove(sock)
        self.socks.append(CipheredSocket(sock))

    def leave(self, *, resets: bool) -> None:
        """Close one, perhaps so that the server is reset."""
        sock = self.rng.choice(self.socks)
        self.socks.remove(sock)
        if resets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()

    def close(self) -> None:
        """Close all."""
        for sock in self.socks:
            sock.close()

    def misbehave(self) -> None:
        """Do one thing with one of them."""
        rng = self.rng
        sock = rng.choice(self.socks)
        if isinstance(sock, CipheredSocket) and rng.random() < 0.3:
            self.spoil(sock)
            return
        match rng.randrange(11):
            case 0 | 1 | 2:
                sock.sendall(b"".join(b"line %d\n" % number for number in range(rng.randrange(40))))
            case 3:
                sock.sendall(rng.choice((b"half", b"\x00\x05", b"12:", b"\xff\xff")))
            case 4:
                sock.sendall(rng.randbytes(rng.choice((1, 100, 70_000))))
            case 5:
                in_clear(sock).send(b"!", socket.MSG_OOB)
            case 6:
                sock.shutdown(rng.choice((socket.SHUT_WR, socket.SHUT_RD)))
            case 7 | 8:
                sock.recv(rng.choice((1, 65536)))
            case 9:
                self.leave(resets=True)
            case 10:
                if rng.random() < 0.5:
                    self.leave(resets=False)
                else:
                    time.sleep(0.005)

    def spoil(self, sock: CipheredSocket) -> None:
        """Do what only a peer of TLS can: the records of its session are written, and then come otherwise."""
        rng = self.rng
        session, outgoing = sock._session, sock._outgoing  # noqa: SLF001 - a peer's own
        records = []
        for _ in range(rng.randrange(1, 6)):
            session.write(b"".join(b"line %d\n" % number for number in range(rng.choice((1, 1, 30, 1500)))))
            records.append(bytearray(outgoing.read()))
        at = rng.randrange(len(records))
        match rng.randrange(10):
            case 0 | 1 | 2:
                change_keys(session, rng.randrange(2))
                records.insert(at, bytearray(outgoing.read()))
                session.write(b"with other keys\n")
                records.append(bytearray(outgoing.read()))
            case 3:
                records[at][rng.randrange(len(records[at]))] ^= 1 << rng.randrange(8)
            case 4:
                del records[at:]
            case 5:
                records.insert(at, records[at])
            case 6:
                size = rng.choice((0, 1, 300, 16641, 65535))
                head = struct.pack("!BHH", rng.choice((20, 21, 22, 23, 24, 0)), 0x0303, size)
                records.insert(at, bytearray(head + rng.randbytes(size)))
            case 7:
                with contextlib.suppress(ssl.SSLError):
                    session.unwrap()
                records.append(bytearray(outgoing.read()))
                records.append(bytearray(rng.randbytes(5)))
        stream = b"".join(records)
        piece = rng.choice((1, 7, 1000, 1 << 20, 1 << 20))
        for start in range(0, min(len(stream), 200 * piece), piece):
            in_clear(sock).send(stream[start : start + piece])


def in_clear(sock: Any) -> socket.socket:
    """Return what is under TLS, where that is spoken."""
    found: socket.socket = sock.raw if isinstance(sock, CipheredSocket) else sock
    return found


def change_keys(session: ssl.SSLObject, kind: int) -> None:
    """Have a session begin to use other keys (RFC 8446 section 4.6.3), and ask for the same where ``kind`` is 1."""
    functions = ctypes.CDLL(ssl._ssl.__file__)  # type: ignore[attr-defined]  # noqa: SLF001 - has what OpenSSL has
    functions.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    functions.SSL_key_update(SslSocket.from_address(id(session._sslobj)).ssl, kind)  # type: ignore[attr-defined]  # noqa: SLF001
