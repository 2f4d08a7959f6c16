"""The file with the process's number: there while it serves, its own and no other's.

It is locked as long as the process lives, and the lock says whether a server is at work; the number in it is for people
and scripts. So a file that a killed process has left is taken over, even if another process has its number by now.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Final

from ..errors import ConfigurationError

# More than any number takes, with its newline.
_MOST_BYTES: Final = 64

_taken: Final[set[PidFile]] = set()


class PidFile:
    """One such file. A lock of the process, not of the descriptor: a child that was forked does not hold it.

    Args:
        path: Where. A later chdir does not matter.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._pid = os.getpid()
        self._fd: int | None = None

    def take(self) -> None:
        """Make the file and lock it, before anything is opened. What a process that is gone left in it goes.

        Raises:
            ConfigurationError: Another process has it, it holds something else than a number, or it cannot be made.
        """
        while self._fd is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            try:
                fd = os.open(self._path, flags, 0o644)
            except OSError as error:
                raise self._refused(_why(error)) from error
            try:
                if self._lock(fd):
                    self._fd, fd = fd, -1
                    _taken.add(self)
            finally:
                if fd >= 0:
                    os.close(fd)

    def _lock(self, fd: int) -> bool:
        """Lock it; return whether it is still the one at its path: one who ended has removed the other."""
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise self._refused("it is no regular file")
        text = os.pread(fd, _MOST_BYTES, 0).strip()
        if text and not text.isdigit():
            raise self._refused("it holds something else than a process's number: it is not overwritten")
        try:
            _lock_file(fd)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise self._refused(_why(error)) from error
            raise self._refused(f"pid {text.decode() or 'unknown'} has it, and is at work; stop that") from None
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(fd), os.stat(self._path, follow_symlinks=False)):
                os.ftruncate(fd, 0)
                return True
        return False

    def write(self) -> None:
        """Say that the server listens.

        Raises:
            ConfigurationError: The disk is full, or is there no longer.
        """
        assert self._fd is not None
        try:
            os.pwrite(self._fd, b"%d\n" % self._pid, 0)
        except OSError as error:
            raise self._refused(_why(error)) from error

    def remove(self) -> None:
        """Remove it, and be done. Where its directory allows that no longer, it is empty from now on. May be repeated.

        In a child that was forked it does nothing.
        """
        _taken.discard(self)
        if self._fd is None or self._pid != os.getpid():
            return
        with contextlib.suppress(OSError):  # a full disk, a directory that is gone
            os.ftruncate(self._fd, 0)
            if os.path.samestat(os.fstat(self._fd), os.stat(self._path, follow_symlinks=False)):
                os.unlink(self._path)
        os.close(self._fd)
        self._fd = None

    def _refused(self, problem: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: {problem}", "pid_file")


def remove_pid_files() -> None:
    """Remove all there are: the process ends right after."""
    for file in list(_taken):
        file.remove()


def _why(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link: write the file it leads to"
    if error.errno == errno.ENOENT:
        return "there is no such directory"
    return f"it cannot be written: {(error.strerror or str(error)).lower()}"


def _lock_file(fd: int) -> None:
    try:
        import fcntl  # noqa: PLC0415  # missing on Windows, where an open file cannot be removed by another process
    except ImportError:
        return
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # a file system without locks
            raise
