"""T-29 for real: a process that may have 256 MiB, and peers that are owed more and do not read it.

What confines it is a memory control group, where this user may make one, and a limit of its address space. Peers are on
a Unix socket: of TCP's output the kernel itself takes 4 MiB for each, which is not the process's.
"""

import contextlib
import os
import resource
import select
import signal
import time
from pathlib import Path

import pytest

from penstock.testing.peers import PATIENCE_S, read_exactly

MIB = 1024**2
LIMIT = 256 * MIB
SILENT = 200
LINE = b"x" * 15_000 + b"\n"
LINES = 110  # of which each silent peer is owed a copy: 330 MB, in steps of 3
# What is between the last step of the ladder and the end, 13 MB, has to suffice for the load between two of its looks:
# the first lines, a quarter of the memory, come as fast as they are heard, the others at 60 MB/s.
FAST_LINES = 24
STEP_S = 0.05


class ControlGroup:
    """A memory control group of the test's own, below its own: version 1 or 2."""

    def __init__(self, limit_bytes):
        found = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        first = [path for _, controllers, path in found if "memory" in controllers.split(",")]
        if first:
            own, limit = Path("/sys/fs/cgroup/memory") / first[0].lstrip("/"), "memory.limit_in_bytes"
            self.ended_file = "memory.oom_control"
        else:
            own, limit = Path("/sys/fs/cgroup") / found[0][2].lstrip("/"), "memory.max"
            self.ended_file = "memory.events"
        self.path = own / f"penstock-test-{os.getpid()}"
        try:
            self.path.mkdir()
        except OSError as error:
            pytest.skip(f"no control group can be made here: {error}")
        try:
            (self.path / limit).write_text(str(limit_bytes))
        except OSError as error:
            self.path.rmdir()
            pytest.skip(f"this control group has no memory limit: {error}")

    @property
    def under(self):
        """What a command is run under so that it is in the group."""
        return ["sh", "-c", 'echo $$ >"$1"/cgroup.procs && shift && exec "$@"', "sh", str(self.path)]

    @property
    def killed(self):
        """How many processes the kernel has ended in it for want of memory."""
        lines = (self.path / self.ended_file).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self):
        """Remove it: once it is empty, which it is a moment after its last process has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.path.rmdir()
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)


@pytest.fixture
def group(request):
    """A control group of 256 MiB. Asked for before ``start``, it is removed after the server has ended."""
    made = ControlGroup(LIMIT)
    yield made
    made.remove()


CHAT = ("--write-max", "16MiB", "--write-total", "none", "--codec", "lines:max=64KiB", "--timeout-first-message", "1h")


def crowd(server, opened):
    """Let in a speaker, one who listens and those who never read."""
    listener, speaker = server.connect(), server.connect()
    opened.extend([speaker, listener])
    for _ in range(SILENT):
        opened.append(server.connect())
        opened[-1].sendall(b"in\n")
        assert b"in\n" == read_exactly(listener, 3)
    return speaker, listener


def flood(speaker, listener):
    """Say so much that the silent are owed more than there is memory; return how many lines the listener heard."""
    heard = 0
    for number in range(LINES):
        speaker.sendall(LINE)
        heard += read_exactly(listener, len(LINE)) == LINE
        if number >= FAST_LINES:
            time.sleep(STEP_S)
    return heard


def ended(socks):
    """How many of the sockets the server has closed."""
    poll = select.poll()
    for sock in socks:
        poll.register(sock, 0)
    return len(poll.poll(0))


# On the pure engine all members share the one copy of what a group publishes: it would not be owed that much.
@pytest.mark.engines("blocking", "native")
@pytest.mark.parametrize("confined_by", ["control group", "address space"])
def test_the_ladder_keeps_the_process_alive(request, opened, tmp_path, confined_by, engine, figure):
    """Those who are owed most are ended before the kernel ends everybody; the one who reads hears every line."""
    group = request.getfixturevalue("group") if confined_by == "control group" else None
    start = request.getfixturevalue("start")
    if group is not None:
        server = start(*CHAT, target="chat", bind=f"unix:{tmp_path}/s", under=group.under)
    else:
        server = start(*CHAT, "--memory-limit", str(LIMIT), target="chat", bind=f"unix:{tmp_path}/s")
    speaker, listener = crowd(server, opened)
    if group is None:
        confine(server.pid, LIMIT)
    heard = flood(speaker, listener)
    shed = ended(opened[2:])
    for sock in opened[2:]:
        sock.close()
    del opened[2:]
    server.logged("pressure=0")
    newcomer = server.connect()
    opened.append(newcomer)
    newcomer.sendall(b"in\n")
    assert b"in\n" == read_exactly(listener, 3)
    speaker.sendall(b"still there?\n")
    answers = [read_exactly(sock, 13) for sock in (listener, newcomer)]
    killed = group.killed if group is not None else 0
    for sock in opened:
        sock.close()
    status = server.end()
    log = server.log.read_text()
    figure(
        f"T-29 {engine.label} in {LIMIT // MIB} MiB of {confined_by}: {SILENT * LINES * len(LINE) // 10**6} MB owed to "
        f"{SILENT} silent peers: {shed} ended, {killed} times out of memory, "
        f"{heard} of {LINES} lines heard by the one who reads"
    )

    assert LINES == heard
    assert 0 < shed < SILENT
    assert "pressure=3" in log
    assert [b"still there?\n"] * 2 == answers
    assert 0 == killed
    assert "MemoryError" not in log
    assert 0 == status


def confine(pid, limit_bytes):
    """Limit a process's address space to what it has, and twice as much more as it may still have resident.

    Not all of it is resident: blocks that grow are larger than what is in them.
    """
    size, resident = (
        int(pages) * resource.getpagesize() for pages in Path(f"/proc/{pid}/statm").read_text().split()[:2]
    )
    limit = size + 2 * (limit_bytes - resident)
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))


@pytest.mark.engines("native")  # one is enough to show that the load is what it is said to be
def test_without_the_ladder_the_kernel_ends_the_process(group, start, opened, tmp_path, figure):
    """The attack is one: with ``--memory-limit none`` the same peers have the server killed."""
    server = start(*CHAT, "--memory-limit", "none", target="chat", bind=f"unix:{tmp_path}/s", under=group.under)
    speaker, listener = crowd(server, opened)
    with contextlib.suppress(ConnectionError):
        flood(speaker, listener)
    status = server.popen.wait(PATIENCE_S)
    figure(f"T-29 the same with --memory-limit none: {group.killed} times out of memory")

    assert -signal.SIGKILL == status
    assert 1 == group.killed
