"""The cells in which workers count: given, cleared, given again; and the lock they are read under."""

import errno
import os
import subprocess
import sys

import pytest

from penstock.workers import cells
from penstock.workers.cells import AVAILABLE, Cells, ProcessLock, WorkerCell

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no memory without a name here")


@pytest.mark.parametrize("lacking", [False, True])
def test_a_cell_that_is_taken_back_is_clear(monkeypatch, lacking):
    """Without a descriptor to map it with, too: what a dead worker had counted must not stay."""
    made = Cells()
    number = made.give(1)
    cell = WorkerCell(made.descriptors[0], number)
    cell.numbers[0], cell.keys[0], cell.keys[-1] = 5, 6, 7

    def refuse(*_args, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        if lacking:
            patch.setattr(cells.mmap, "mmap", refuse)
        made.take_back(1)

    assert [0, 0, 0] == [cell.numbers[0], cell.keys[0], cell.keys[-1]]
    assert number == made.give(2)
    made.take_back(2)
    made.close()


# Has the first lock in one thread, and waits for the second one in another, until its input ends.
OTHER_PROCESS = """\
import fcntl, sys, threading
first, second = map(int, sys.argv[1:])
fcntl.lockf(first, fcntl.LOCK_EX)
waits = threading.Thread(target=fcntl.lockf, args=(second, fcntl.LOCK_EX))
waits.start()
print("ready", flush=True)
sys.stdin.read()
fcntl.lockf(first, fcntl.LOCK_UN)
waits.join()
"""


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="the system does not say who waits for a lock")
def test_a_deadlock_that_the_kernel_sees_among_threads_is_none(monkeypatch):
    """It knows processes only: what another thread of the other process frees in a moment is waited for."""
    first, second = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("first", "second"))
    tried = []
    command = [sys.executable, "-c", OTHER_PROCESS, str(first), str(second)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, pass_fds=(first, second), **pipes) as other, ProcessLock(second):
        assert "ready\n" == other.stdout.readline()
        while not waits(other.pid):
            assert None is other.poll()

        def sleep(duration_s):
            tried.append(duration_s)
            if not other.stdin.closed:
                other.stdin.close()

        monkeypatch.setattr(cells.time, "sleep", sleep)
        with ProcessLock(first):
            assert tried
    assert 0 == other.returncode
    os.close(first)
    os.close(second)


def waits(pid):
    """Whether a process waits for a record lock."""
    with open("/proc/locks") as file:
        return any("->" in line and str(pid) in line.split() for line in file)
