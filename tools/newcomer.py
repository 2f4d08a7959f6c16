"""A newcomer's hour, walked by a program: a fresh clone, a fresh environment, and what is tried first.

``make newcomer`` walks it twice, with a C compiler and without. ``--here`` leaves out what takes minutes (clone,
installation, tests, site) and tries the rest with the environment that runs this: a test does so.

Each step prints one line. The first one that goes wrong ends the walk, with status 1 and what was seen.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent
PATIENCE_S = 30
HELLO = """\
import penstock


@penstock.on_message(codec="lines")
def shout(message: bytes) -> bytes:
    return message.upper()
"""

# What a naive client of each classic service sends, and a pattern of all that it is answered.
CLASSICS = {
    "echo": (b"hello\n", rb"hello\n"),
    "time": (b"hi\n", rb"\[.* \d\d:\d\d:\d\d \d{4}\] hi\n"),
    "greeter": (b"1\n", rb"welcome to server!\n"),
    "hello": (b"I am here\n", rb"Got a connection from server\n"),
    "daytime": (b"", rb"\w+, \w+ \d+, \d{4} \d\d:\d\d:\d\d.*\r\n"),
    "qotd": (b"", rb"(?s).+"),
}

# Mistakes that are made first: the command, its exit status, what the error says.
MISTAKES: Sequence[tuple[Sequence[str], int, str]] = (
    (["serve", "ehco"], 2, "did you mean echo?"),
    (["serve", "hello.py", "--bind", "127.0.0.1"], 2, "--bind"),
    (["serve", "hello.py", "--bnd", "tcp://127.0.0.1:0"], 2, "--bind"),
    (["serve", "hello.py", "--codec", "line"], 2, "did you mean lines?"),
    (["serve", "hello.py:shot"], 3, "shout"),
    (["serve", "nothing.py"], 3, "nothing.py"),
    (["serve", "hello.py", "--timeout-idle", "5"], 2, "duration"),
    (["serve", "hello.py", "--once", "--prefix", "x"], 2, "--prefix"),
    (["hello.py"], 2, "serve"),
    (["send", "tcp://127.0.0.1:1", "x"], 1, "connection refused"),
    (["connect", "127.0.0.1"], 2, "127.0.0.1"),
    (["bench", "tcp://example.org:9"], 2, "--allow-remote"),
)


class WrongError(Exception):
    """What was seen is not what a newcomer should see."""


class Walk:
    """One walk in one environment.

    Args:
        programs: The directory of ``penstock`` and ``python``.
        folder: Where the newcomer works.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self.environ |= {"PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "100", "XDG_STATE_HOME": str(folder)}
        self.penstock = str(programs / "penstock")

    def run(self, *command: str, status: int = 0, patience_s: float = PATIENCE_S, folder: Path | None = None) -> str:
        """Run a command to its end; return what it printed, on either stream."""
        done = subprocess.run(  # noqa: S603  # our own words
            command,
            check=False,
            cwd=folder or self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=patience_s,
            text=True,
        )
        if done.returncode != status:
            raise WrongError(f"$ {' '.join(command)}\n{done.stdout}status {done.returncode}, expected {status}")
        return done.stdout

    @contextlib.contextmanager
    def served(self, *arguments: str) -> Iterator[str]:
        """Serve on a port of the system's choice; yield its address. The server has to end in order."""
        command = [self.penstock, "serve", *arguments, "--bind", "tcp://127.0.0.1:0", "--print-ready"]
        with subprocess.Popen(  # noqa: S603  # our own words
            command, cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as server:
            assert server.stdout is not None
            try:
                yield json.loads(server.stdout.readline())["addresses"][0]
            finally:
                server.send_signal(signal.SIGINT)
                server.communicate(timeout=PATIENCE_S)
            if server.returncode != 0:
                raise WrongError(f"$ {' '.join(command)}\nended with status {server.returncode} at Ctrl-C")

    # -- what needs nothing but an environment -------------------------------------------------------------------------

    def first_server(self) -> None:
        """The README's server, from a pipe and by its own client."""
        (self.folder / "hello.py").write_text(HELLO)
        with self.served("hello.py") as address:
            _expect("HELLO\nAGAIN\n", self.run(self.penstock, "send", address, "--codec", "lines", "hello", "again"))
            _expect(True, " OK " in self.run(self.penstock, "probe", address))

    def classic_programs(self) -> None:
        """Each by a client that knows nothing but sockets."""
        for name, (sent, pattern) in CLASSICS.items():
            with self.served(name) as address, _dial(address) as sock:
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
                came = b"".join(iter(lambda sock=sock: sock.recv(4096), b""))
            if not re.fullmatch(pattern, came):
                raise WrongError(f"penstock serve {name} was sent {sent!r} and answered {came!r}")

    def clients_that_end_no_line(self) -> None:
        """As every tutorial writes them: they send a word, and wait."""
        for name in ("time", "greeter"):
            sent, pattern = CLASSICS[name]
            with self.served(name) as address, _dial(address) as sock:
                sock.sendall(sent.rstrip())
                came = sock.recv(4096)
            if not re.fullmatch(pattern, came):
                raise WrongError(f"penstock serve {name} was sent {sent.rstrip()!r} and answered {came!r}")

    def two_in_a_chat(self) -> None:
        """What one says, the other one hears."""
        with self.served("chat") as address, _dial(address) as one, _dial(address) as other:
            # One of them may not be in the room yet: it says something until it is heard.
            until = time.monotonic() + PATIENCE_S
            while time.monotonic() < until:
                one.sendall(b"anybody?\n")
                if select.select([other], [], [], 0.2)[0]:
                    break
            _expect("anybody?\n", other.recv(9).decode())

    def wrong_input(self) -> None:
        """Each mistake is one short error that says what to do, and never a traceback."""
        for arguments, status, hint in MISTAKES:
            said = self.run(self.penstock, *arguments, status=status)
            if hint not in said or "Traceback" in said or len(said.splitlines()) > 4:
                raise WrongError(f"$ penstock {' '.join(arguments)}\n{said}expected a word of {hint!r}, in a few lines")

    def bench_report(self) -> None:
        """The load generator, and its report as one page that fetches nothing."""
        report = self.folder / "report.html"
        with self.served("echo", "--codec", "lines") as address:
            command = ["bench", address, "--codec", "lines", "-n", "1k", "-c", "4", "--assert", "errors==0"]
            said = self.run(self.penstock, *command, "--html", str(report))
        if "✓ errors==0" not in said or "p99" not in said:
            raise WrongError(said)
        if "uPlot" not in (page := report.read_text()) or re.search(r"(src|href)=[\"']?https?:", page):
            raise WrongError("report.html has no plots, or fetches something")

    def prompt(self) -> None:
        """The prompt in a terminal: a line, its reply, half a line that Ctrl-C clears, the end."""
        with self.served("hello.py") as address, _Terminal(self, "connect", address, "--codec", "lines") as terminal:
            terminal.wait_for("/help lists commands.*>")
            terminal.type("hello\r", "HELLO.*>")
            terminal.type("/help\r", "/reconnect.*>")
            terminal.type("half", "half")
            terminal.type("\x03whole\r", "WHOLE.*>")
            if "HALF" in terminal.shown:
                raise WrongError(f"Ctrl-C did not clear the line: {terminal.shown!r}")
            terminal.type("\x04")
            _expect(0, terminal.end())

    # -- what begins with nothing --------------------------------------------------------------------------------------

    def make_serve(self, clone: Path, engine: str) -> None:
        """The first command of a clone: it installs what is needed, serves, and says with which engine."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with (
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(  # noqa: S603  # our own words
                ["make", "serve", f"BIND=tcp://127.0.0.1:{port}"],  # noqa: S607
                cwd=clone,
                env=self.environ,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as server,
        ):
            until = time.monotonic() + 20 * 60
            while server.poll() is None and time.monotonic() < until:
                with contextlib.suppress(OSError), _dial(f"tcp://127.0.0.1:{port}") as sock:
                    sock.sendall(b"hello")
                    _expect(b"hello", sock.recv(5))
                    break
                time.sleep(0.2)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGINT)
            try:
                server.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                raise
            said.seek(0)
            if not re.search(rf"engine +{engine}", text := said.read()):
                raise WrongError(f"{text}\nexpected the engine {engine}")

    def pages(self, clone: Path) -> None:
        """README, quick start, and every other page: each command and listing does what the page says."""
        self.run(
            str(self.programs / "python"), "-m", "pytest", "-q", "tests/test_docs.py", patience_s=1800, folder=clone
        )

    def tests(self, clone: Path) -> None:
        """The second command of the README."""
        self.run("make", "test", patience_s=3600, folder=clone)

    def site(self, clone: Path) -> None:
        """The documentation as a site."""
        self.run("make", "docs", patience_s=1200, folder=clone)
        for page in ("index", "quick-start", "reference", "recipes/chat"):
            if not (clone / "build" / "site" / f"{page}.html").is_file():
                raise WrongError(f"the site has no {page}.html")


class _Terminal:
    """``penstock`` in a terminal."""

    def __init__(self, walk: Walk, *arguments: str) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:  # pragma: no cover - the child
            os.chdir(walk.folder)
            environ = walk.environ | {"TERM": "xterm"}
            os.execve(walk.penstock, ["penstock", *arguments], environ)  # noqa: S606  # our own words
        self.shown = ""
        self._status: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._fd)

    def _read(self, timeout_s: float) -> bool:
        """Take what is shown next; say whether there was anything."""
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # Linux: the program in the terminal has ended
            return False
        if b"\x1b[6n" in data:  # "where is the cursor?", which a terminal answers
            os.write(self._fd, b"\x1b[1;1R")
        self.shown += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, pattern: str) -> None:
        """Wait until something is shown. Between two prompts the terminal is nobody's: wait for the next one."""
        until = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.shown, re.DOTALL):
            if not self._read(0.2) and time.monotonic() > until:
                raise WrongError(f"the prompt never showed {pattern!r}, but {self.shown!r}")

    def type(self, keys: str, shows: str = "") -> None:
        """Type, and wait for what is shown then."""
        self.shown = ""
        os.write(self._fd, keys.encode())
        self.wait_for(shows)

    def end(self) -> int:
        """Wait for the end; return the exit status."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            self._read(0.05)
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
                return self._status
        raise WrongError("the prompt did not end")


def _dial(address: str) -> socket.socket:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)


def _expect(expected: object, actual: object) -> None:
    if expected != actual:
        raise WrongError(f"expected {expected!r}, got {actual!r}")


def step(title: str, do: Callable[[], object]) -> None:
    """Do one step and say so."""
    began = time.monotonic()
    do()
    print(f"✓ {title}  {time.monotonic() - began:.1f} s", flush=True)


def walk_here(walk: Walk) -> None:
    """All that needs nothing but an environment with Penstock."""
    step("a server of five lines", walk.first_server)
    step(f"the classic programs: {', '.join(CLASSICS)}", walk.classic_programs)
    step("clients that end no line", walk.clients_that_end_no_line)
    step("two in a chat", walk.two_in_a_chat)
    step(f"{len(MISTAKES)} mistakes", walk.wrong_input)
    step("a load test and its report", walk.bench_report)
    step("the prompt", walk.prompt)


def walk_from_nothing(folder: Path, *, compiler: bool, tests: bool) -> None:
    """Clone, install, serve, read, test."""
    clone = folder / "penstock"
    walk = Walk(clone / ".venv" / "bin", folder)
    if not compiler:
        walk.environ |= {"CC": "/bin/false", "CXX": "/bin/false"}
    step("a clone", lambda: walk.run("git", "clone", "-q", str(ROOT), str(clone)))
    step("make serve", lambda: walk.make_serve(clone, "native" if compiler else "pure"))
    walk_here(walk)
    step("every page of the documentation", lambda: walk.pages(clone))
    step("make docs", lambda: walk.site(clone))
    if tests:
        step("make test", lambda: walk.tests(clone))


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--here", action="store_true", help="with this environment, without what takes minutes")
    parser.add_argument("--without-compiler", action="store_true", help="as on a machine that has no C compiler")
    parser.add_argument("--tests", action="store_true", help="make test, too: half an hour more")
    options = parser.parse_args(arguments)
    # Else a job in the background, which ignores CTRL+C, has every server that is started here ignore it, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="newcomer-"))
    try:
        if options.here:
            walk_here(Walk(Path(sysconfig.get_path("scripts")), folder))
        else:
            walk_from_nothing(folder, compiler=not options.without_compiler, tests=options.tests)
    except (WrongError, OSError, subprocess.SubprocessError) as error:
        print(f"✗ {error}", flush=True)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
