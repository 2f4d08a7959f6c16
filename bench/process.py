"""A server under measurement: started on its core, its CPU time and memory read from outside, ended by its id."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from .build import UnavailableError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

# CPython's asyncio allocates 256 KiB for every read. While the process has never freed a bigger block, glibc serves
# that with mmap, mremap, munmap and a page fault each time, else from its heap: 22 or 6.5 us per message for the same
# Protocol, decided by what was imported before. Every server is given the heap, which is the faster.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**22)}


class FailedError(Exception):
    """A server or the load generator did not do what it must: the text says what."""


class LineReader:
    """Reads lines from a pipe, each within a time."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._fd = pipe.fileno()
        self._pending = b""

    def line(self, timeout_s: float) -> str | None:
        """Return the next line without its end, or None at the end of the stream; TimeoutError when it is late."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise TimeoutError
            data = os.read(self._fd, 65536)
            if not data:
                return None
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process of ours, kill it if it stays, and reap it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _tree(pid: int) -> Iterator[int]:
    """Yield ``pid`` and every living descendant."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = children.read_text().split()
        except OSError:  # the thread ended meanwhile
            continue
        for child in pids:
            yield from _tree(int(child))


def _stat(pid: int) -> list[int]:
    """Return utime, stime, cutime, cstime of proc_pid_stat(5), in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]


class Server:
    """A context manager around one server process.

    Args:
        argv: The command. It prints ``READY <port>`` once it accepts, or ``SKIP <reason>``.
        core: The core it, and every thread and child it makes, runs on; None for any.
        environment: What is set beside the inherited variables.

    Raises:
        UnavailableError: On entry; the server said SKIP.
        FailedError: On entry; it ended or stayed silent instead of getting ready.
    """

    port: int
    _stdin = subprocess.DEVNULL

    def __init__(
        self, argv: Sequence[str | Path], core: int | None, environment: Mapping[str, str] = ALLOCATOR
    ) -> None:
        self._argv = [str(part) for part in argv]
        self._core = core
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            self._argv,
            stdin=self._stdin,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self._environment,
        )
        try:
            if self._core is not None:
                os.sched_setaffinity(self._process.pid, {self._core})
            self._await_ready()
        except BaseException:
            self._close()
            raise
        return self

    def _await_ready(self) -> None:
        assert self._process.stdout is not None
        try:
            word, _, rest = (LineReader(self._process.stdout).line(START_TIMEOUT_S) or "").partition(" ")
        except TimeoutError:
            raise FailedError(f"not ready after {START_TIMEOUT_S:g} s; {self.last_words()}") from None
        if word == "SKIP":
            raise UnavailableError(rest)
        if word != "READY":
            self._process.wait(STOP_TIMEOUT_S)
            raise FailedError(f"ended with status {self._process.returncode} before it was ready; {self.last_words()}")
        self.port = int(rest)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        end(self._process)
        self._errors.close()

    def last_words(self) -> str:
        """Return the last line of the server's standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing on its standard error"

    def cpu_ns(self) -> int:
        """Return the CPU time, user and system, of the process, all threads it ever had, and all its children.

        From the process's CPU clock, in ns: what clock_getcpuclockid(3) returns, and what its ``schedstat`` files add
        up to. Children that ended are counted in clock ticks (10 ms), as the kernel keeps them.
        """
        total = 0
        for pid in _tree(self._process.pid):
            total += time.clock_gettime_ns((~pid << 3) | 2)
            total += sum(_stat(pid)[2:]) * TICK_NS
        return total

    def stat_ns(self) -> tuple[int, int]:
        """Return user and system time by proc_pid_stat(5), children included: the check on `cpu_ns`, in ticks."""
        user = system = 0
        for pid in _tree(self._process.pid):
            utime, stime, cutime, cstime = _stat(pid)
            user += (utime + cutime) * TICK_NS
            system += (stime + cstime) * TICK_NS
        return user, system

    def resident_bytes(self) -> int:
        """Return the resident memory of the process and its children, counted page by page."""
        total = 0
        for pid in _tree(self._process.pid):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    total += int(line.split()[1]) * 1024
        return total


class Load:
    """The load generator, running against a server; pinned to where the caller is. Or a client to be measured."""

    def __init__(self, argv: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **(environment or {})},
        )
        assert self._process.stdout is not None
        self._reader = LineReader(self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end(self._process)

    def tell(self, line: str) -> None:
        """Write one line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def expect(self, word: str, timeout_s: float) -> None:
        """Wait for one bare word; FailedError with the generator's own reason if something else comes."""
        line = self._line(timeout_s)
        if line != word:
            raise FailedError(_reason(line))

    def result(self, timeout_s: float) -> dict[str, Any]:
        """Wait for a JSON line and return it; FailedError if it reports an error."""
        line = self._line(timeout_s)
        result: dict[str, Any] = json.loads(line)
        if "error" in result:
            raise FailedError(_reason(line))
        return result

    def _line(self, timeout_s: float) -> str:
        try:
            line = self._reader.line(timeout_s)
        except TimeoutError:
            raise FailedError(f"the load generator said nothing for {timeout_s:g} s") from None
        if line is None:
            raise FailedError(f"the load generator ended with status {self._process.wait(STOP_TIMEOUT_S)}")
        return line


def _reason(line: str) -> str:
    try:
        said = json.loads(line)
        return f"{said['error']}: {said['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"the load generator said {line!r}"
