"""A process that has few descriptors left."""

import contextlib
import os
import resource


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
