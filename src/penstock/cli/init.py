"""What process 1 of a container has to do, and a server has not: reap what others have left, and pass signals on.

The kernel gives process 1 every process whose parent has ended, and drops signals that it has no handler for. So as
process 1 the program starts the server as a child, as ``docker run --init`` would.
"""

import contextlib
import os
import signal
from typing import Final, NoReturn

INIT: Final = 1
# What a process sends itself by a mistake of its own, and what is about children and terminals.
_OWN: Final = frozenset(
    getattr(signal, name)
    for name in ("SIGFPE", "SIGILL", "SIGSEGV", "SIGBUS", "SIGABRT", "SIGTRAP", "SIGSYS", "SIGTTIN", "SIGTTOU")
    if hasattr(signal, name)
)


def go_on_in_a_child() -> None:
    """Return in a child, which is the process from here on; in process 1 never. To be called before any thread."""
    watched = signal.valid_signals() - _OWN
    # Blocked: none is lost between here and the wait, and the kernel keeps even those without a handler.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child:
        _look_after(child, watched)
    # A group of its own: Ctrl-C in a terminal is for the server, and not passed on to it a second time.
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):  # there is no terminal
        os.tcsetpgrp(0, os.getpgrp())
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _look_after(child: int, watched: set[signal.Signals]) -> NoReturn:
    while True:
        number = signal.sigwait(watched)
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
            continue
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    code = os.waitstatus_to_exitcode(ended[1])
                    os._exit(code if code >= 0 else 128 - code)
