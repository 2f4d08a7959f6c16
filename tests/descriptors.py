"""The descriptors of this process: that none is left open, and that few are left to open."""

import contextlib
import gc
import os
import resource
import time

PATIENCE_S = 20


def descriptors():
    """Return how many are open."""
    return len(os.listdir("/dev/fd"))


@contextlib.contextmanager
def none_left_open():
    """No more are open after the block than before it, as soon as may be.

    A thread of an earlier test, one that resolves a name say, may have one open for a moment: only what stays is left.
    """
    before = descriptors()
    yield
    until = time.monotonic() + PATIENCE_S
    while (after := descriptors()) > before:
        gc.collect()
        assert time.monotonic() < until, f"{after - before} descriptors are left open"
        time.sleep(0.001)


@contextlib.contextmanager
def descriptors_left(count):
    """Exactly ``count`` more can be opened: lower numbers that are free are taken, and those beyond are not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as taken:
        highest = max(map(int, os.listdir("/proc/self/fd")))
        while (number := os.dup(0)) <= highest:
            taken.callback(os.close, number)
        os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (number + count, hard))
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        yield
