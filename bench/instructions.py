"""What Penstock's own code costs, as numbers that a busy machine does not move: instructions, and bytes of memory.

Every round of work is the same to the byte: one connection, lines of 31 bytes, one or 32 in flight; or connections one
after the other, each with one line. callgrind counts the server's instructions in user space; the median of the rounds
is shown, divided by the messages or connections of a round. An idle connection is what Python's allocators hold for one
that has exchanged one line, as tracemalloc sees it.

    python -m bench.instructions                                # of this tree
    python -m bench.instructions --tree ../before --json before.json
    python -m bench.instructions --before before.json           # this tree, and by how much it differs
    python -m bench.instructions --codec lines:quiet=1ms        # lines of a codec that also takes silence for an end
    python -m bench.instructions --handler streams              # a callback of asyncio's streams; protocol: a Protocol

With a codec that frames by silence there is one figure more: a message without an end, which a silence ends.

A tree has to be built in place (``setup.py build_ext --inplace``). Needs valgrind and its headers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .build import UnavailableError, counted
from .machine import raise_descriptor_limit
from .process import LineReader, end

ROOT = Path(__file__).parents[1]
SERVER = ROOT / "bench/servers/penstock_counted.py"
ENGINES = ("native", "pure")
FORMS = {"def-message": "def", "async-message": "async def", "connection": "conversation"}
# Written for asyncio, and served as they are: measured where they are asked for.
ADOPTED = {"protocol": "hand-written Protocol", "streams": "callback of streams"}
LINE = b"0123456789abcdefghijklmnopqrstu\n"
START_TIMEOUT_S = 600.0
PEER_TIMEOUT_S = 600.0
ROUNDS = 7
IDLE = 1000

Figures = dict[str, dict[str, float]]


def exchange(peer: socket.socket, depth: int, count: int, message: bytes = LINE) -> None:
    """Send ``count`` lines, ``depth`` at a time; return when the last one is back."""
    block = message * depth
    for _ in range(count // depth):
        peer.sendall(block)
        missing = len(LINE) * depth
        while missing:
            got = peer.recv(missing)
            if not got:
                raise UnavailableError("the server closed the connection")
            missing -= len(got)


def connect(port: int) -> socket.socket:
    """Return a connected socket that does not wait for ever."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=PEER_TIMEOUT_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def visit(port: int, count: int) -> None:
    """Connect, send a line, get it back, send EOF, get EOF, close; ``count`` times."""
    for _ in range(count):
        with connect(port) as peer:
            exchange(peer, 1, 1)
            peer.shutdown(socket.SHUT_WR)
            if peer.recv(1):
                raise UnavailableError("the server said more than it was asked")


@contextmanager
def running(argv: list[str], tree: Path) -> Iterator[tuple[subprocess.Popen[bytes], LineReader, int]]:
    """Start a server of ``tree``; give its process, its output and its port; end it."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout is not None
        lines = LineReader(process.stdout)
        line = lines.line(START_TIMEOUT_S)
        if line is None or not line.startswith("READY "):
            raise UnavailableError(f"the server said {line!r}")
        yield process, lines, int(line.removeprefix("READY "))
    finally:
        end(process)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def count_instructions(engine: str, form: str, tree: Path, codec: str) -> dict[str, float]:
    """Return instructions per message, and per connection, by what was done."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise UnavailableError("valgrind is not installed")
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        tool = [valgrind, "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        server = [sys.executable, str(SERVER), "--engine", engine, "--handler", form, "--codec", codec]
        server += ["--counter", str(counted())]
        with running([*tool, *server], tree) as (process, _, port):
            assert process.stdin is not None
            assert process.stdout is not None
            inbox, outbox = process.stdin.fileno(), process.stdout.fileno()
            dumps = 0

            def round_of(work: Callable[[], object]) -> int:
                nonlocal dumps
                work()
                os.write(inbox, b".")
                os.read(outbox, 1)
                dumps += 1
                text = out.with_name(f"out.{dumps}").read_text()
                return int(re.findall(r"^totals: (\d+)", text, re.MULTILINE)[-1])

            def measure(work: Callable[[], object], amount: int) -> float:
                return statistics.median([round_of(work) for _ in range(ROUNDS + 2)][2:]) / amount

            with connect(port) as peer:
                found["1 in flight"] = measure(lambda: exchange(peer, 1, 1000), 1000)
                found["32 in flight"] = measure(lambda: exchange(peer, 32, 6400), 6400)
            if "quiet=" in codec:
                with connect(port) as peer:
                    found["ended by silence"] = measure(lambda: exchange(peer, 1, 100, LINE.rstrip()), 100)
            found["connection"] = measure(lambda: visit(port, 100), 100)
    return found


def weigh_idle(engine: str, form: str, tree: Path, codec: str = "lines") -> float:
    """Return the bytes that Python's allocators hold for one connection that has exchanged one line."""
    argv = [sys.executable, str(SERVER), "--engine", engine, "--handler", form, "--codec", codec, "--memory"]
    peers: list[socket.socket] = []
    raise_descriptor_limit()
    with running(argv, tree) as (process, lines, port):
        assert process.stdin is not None
        inbox = process.stdin.fileno()

        def weigh() -> int:
            os.write(inbox, b"\n")
            line = lines.line(START_TIMEOUT_S)
            assert line is not None
            held, connections = map(int, line.split())
            assert connections == len(peers)
            return held

        def join(count: int) -> None:
            for _ in range(count):
                peers.append(connect(port))
                exchange(peers[-1], 1, 1)

        try:
            join(IDLE)  # what grows in steps (tables of descriptors, dictionaries) has grown
            before = weigh()
            join(IDLE)
            return (weigh() - before) / IDLE
        finally:
            for peer in peers:
                peer.close()


def measure_all(tree: Path, engines: list[str], forms: list[str], codec: str) -> Figures:
    """Measure every engine and form of a tree; a line is printed to stderr for each that is done."""
    figures: Figures = {}
    for engine in engines:
        for form in forms:
            row = count_instructions(engine, form, tree, codec)
            row["idle bytes"] = weigh_idle(engine, form, tree, codec)
            name = f"{engine}, {(FORMS | ADOPTED)[form]}"
            figures[name] = row
            print(f"{name}: {row}", file=sys.stderr, flush=True)
    return figures


def table(figures: Figures, before: Figures) -> str:
    """Return the figures as a table in Markdown, with what changed where there is something to compare."""
    columns = list(next(iter(figures.values())))
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, row in figures.items():
        cells = []
        for column in columns:
            cell = f"{row[column]:,.0f}"
            was = before.get(name, {}).get(column)
            if was:
                cell += f" ({(row[column] / was - 1) * 100:+.1f} %)"
            cells.append(cell)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tree", type=Path, default=ROOT, help="whose src/ is measured")
    options.add_argument("--engine", action="append", choices=ENGINES)
    options.add_argument("--handler", action="append", choices=(*FORMS, *ADOPTED))
    options.add_argument("--codec", default="lines", help="one of lines (default: %(default)s)")
    options.add_argument("--json", type=Path, help="where the figures are kept")
    options.add_argument("--before", type=Path, help="figures to compare with, as --json wrote them")
    chosen = options.parse_args()
    before = json.loads(chosen.before.read_text()) if chosen.before else {}
    try:
        figures = measure_all(
            chosen.tree.resolve(), chosen.engine or list(ENGINES), chosen.handler or list(FORMS), chosen.codec
        )
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures, before))
    return 0


if __name__ == "__main__":
    sys.exit(main())
