"""Many idle connections to one server: processes that hold them, each from an address of its own.

Descriptors of a process and ports of an address are limited: there are as many holders as both limits require.
A holder opens what it is told to, exchanges one line on each connection, and then keeps it. All of loopback (127/8)
is this machine's: each holder has one address of it.
"""

from __future__ import annotations

import argparse
import resource
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from .process import LineReader, end

LINE: Final = b"0123456789abcdefghijklmnopqrstu\n"

# Of the ports that the system gives, those that other programs may hold, and descriptors that a holder has beside.
SPARE: Final = 200
PATIENCE_S: Final = 120.0


def most_of_a_holder() -> int:
    """Return how many connections one process can hold: what its descriptors and the ports of its address allow."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first, last = map(int, file.read().split())
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(last - first, descriptors) - SPARE


def memory_available_bytes() -> int:
    """Return how much memory the machine has left, what it can take from its caches included."""
    with open("/proc/meminfo") as file:
        (line,) = (line for line in file if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


class Holder:
    """A process that holds connections to ``port``, from an address of its own."""

    def __init__(self, port: int, number: int) -> None:
        source = f"127.{1 + number // 250}.{number % 250}.1"
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(port), source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._process.stdout is not None
        self._lines = LineReader(self._process.stdout)

    def close(self) -> None:
        """End it, and its connections."""
        end(self._process)

    def begin(self, word: str) -> None:
        """Tell it ``open N``, or ``ask``."""
        assert self._process.stdin is not None
        self._process.stdin.write(word.encode() + b"\n")

    def done(self) -> int:
        """Return how many connections it holds, or how many have answered.

        Raises:
            RuntimeError: It has ended.
        """
        line = self._lines.line(PATIENCE_S)
        if line is None:
            raise RuntimeError("a process that holds connections has ended")
        return int(line)


class Crowd:
    """Connections of several holders, opened in steps.

    Args:
        port: Of the server.
        most: How many there will be.
    """

    def __init__(self, port: int, most: int) -> None:
        each = most_of_a_holder()
        self.most = most
        self.held = 0
        self._each = each
        self._holders = [Holder(port, number) for number in range(-(-most // each))]

    def open(self, count: int) -> None:
        """Open ``count`` more, spread over the holders; fewer where the server takes no more."""
        shares = [count // len(self._holders)] * len(self._holders)
        for number in range(count % len(self._holders)):
            shares[number] += 1
        for holder, share in zip(self._holders, shares, strict=True):
            holder.begin(f"open {share}")
        self.held = sum(holder.done() for holder in self._holders)

    def ask(self) -> int:
        """Exchange a line on some of each holder's connections, at most a hundred; return how many have answered."""
        for holder in self._holders:
            holder.begin("ask")
        return sum(holder.done() for holder in self._holders)

    def close(self) -> None:
        """Close them all."""
        for holder in self._holders:
            holder.close()


def _exchanged(sock: socket.socket) -> bool:
    try:
        sock.sendall(LINE)
        found = b""
        while len(found) < len(LINE):
            more = sock.recv(len(LINE) - len(found))
            if not more:
                return False
            found += more
    except OSError:
        return False
    return found == LINE


def _hold(port: int, source: str) -> None:
    """Be a holder: do what the lines of the standard input say."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held: list[socket.socket] = []
    for line in sys.stdin:
        word, _, count = line.strip().partition(" ")
        if word == "open":
            for _ in range(int(count)):
                try:
                    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S, source_address=(source, 0))
                except OSError:
                    break
                if not _exchanged(sock):
                    sock.close()
                    break
                held.append(sock)
            print(len(held), flush=True)
        else:
            print(sum(map(_exchanged, held[:: max(1, len(held) // 100)])), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Be a holder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("source")
    told = parser.parse_args(arguments)
    _hold(told.port, told.source)


if __name__ == "__main__":
    main()
