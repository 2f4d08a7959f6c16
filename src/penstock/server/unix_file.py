"""The file of a Unix socket: made with its mode, replaced when it is stale and only then, removed when it is ours.

How two servers that start at once are kept apart, and why so: docs/design/addresses.md.
"""

import errno
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ..address import Address
from ..engines.listener import SocketFile
from ..errors import BindError
from .diagnosis import unix_holder

_LOCK_TRIES: Final = 100
_LOCK_PAUSE_S: Final = 0.01

_made: Final[set[SocketFile]] = set()  # by this process, and not removed again


def bind_unix(
    sock: socket.socket, address: Address, mode: int, owner: tuple[int, int] | None = None
) -> SocketFile | None:
    """Bind a Unix socket that is not listening yet.

    Args:
        sock: The socket, of the kind that ``address`` asks for.
        address: A path or an abstract name.
        mode: Permissions of the file, exactly: the umask does not cut them. They hold from the first connection on.
        owner: User and group of the file, -1 for as it is; None for both.

    Returns:
        The file, or None for an abstract name.

    Raises:
        BindError: The path is no socket, or a live one, or one of which that cannot be found out.
        OSError: What else bind(2) says.
    """
    if address.is_abstract:
        try:
            sock.bind(address.unix_name)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _in_use(address, address.path) from None
            raise
        return None
    path = os.path.abspath(address.path)
    # On Linux the file gets the mode that the socket has when it is bound, less the umask: there is no moment in which
    # it has more. Elsewhere this fails, and what `_settle` does is early enough: the socket does not listen yet.
    with suppress(OSError):
        os.fchmod(sock.fileno(), mode)
    try:
        sock.bind(address.unix_name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _replace(sock, address, path)
    return _settle(address, path, mode, owner)


def _settle(address: Address, path: str, mode: int, owner: tuple[int, int] | None) -> SocketFile:
    """Give the file that was made its owner and its mode, and say which it is.

    By a descriptor of the file, not by its path: a user who may write to the directory can put a symbolic link there
    meanwhile, or another file by rename(2).
    """
    with _opened(path) as (name, follows):
        status = os.stat(name, follow_symlinks=follows)
        # The file that bind(2) made has one name; a hard link to a socket elsewhere has two.
        if not stat.S_ISSOCK(status.st_mode) or status.st_nlink != 1:
            raise BindError(str(address), f"{path} was replaced right after it was bound; use a directory of your own")
        file = SocketFile(path, status.st_dev, status.st_ino)
        _made.add(file)
        if owner is not None:
            _give(file, name, owner, address, follows=follows)
        if stat.S_IMODE(status.st_mode) != mode:
            try:
                os.chmod(name, mode, follow_symlinks=follows)
            except NotImplementedError:  # this system has neither descriptors by name nor lchmod(2)
                remove_file(file)
                problem = f"its mode cannot be set here; start with umask {0o777 & ~mode:04o}"
                raise BindError(str(address), problem) from None
            except OSError:
                remove_file(file)
                raise
    return file


def _give(file: SocketFile, name: str, owner: tuple[int, int], address: Address, *, follows: bool) -> None:
    try:
        os.chown(name, *owner, follow_symlinks=follows)
    except OSError as error:
        remove_file(file)
        if error.errno != errno.EPERM:
            raise
        whose = ":".join("" if number < 0 else str(number) for number in owner)
        raise BindError(str(address), f"this user may not give it to {whose}; start as root", error.errno) from None


@contextmanager
def _opened(path: str) -> Iterator[tuple[str, bool]]:
    """Return a name that goes on to mean the same file, and whether it is to be followed.

    It is the link in /proc of a descriptor that only names the file (open(2), O_PATH): fchmod(2) refuses those. Where
    there is no such thing it is the path, which is not followed.
    """
    if not hasattr(os, "O_PATH"):
        yield path, False
        return
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        name = f"/proc/self/fd/{descriptor}"
        yield (name, True) if os.path.exists(name) else (path, False)
    finally:
        os.close(descriptor)


def remove_file(file: SocketFile) -> None:
    """Remove the file if it is still the one that was made: not if it is gone, and not if another took its place.

    To be called while the socket is open: then no process takes the file for stale, and its inode's number is its own.
    A child that was forked has inherited the socket, not the file: there it does nothing.
    """
    is_ours = file in _made and file.pid == os.getpid()
    _made.discard(file)
    if not is_ours:
        return
    with suppress(OSError), _directory(file.path) as (directory, name):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if (status.st_dev, status.st_ino) == (file.device, file.inode):
            os.unlink(name, dir_fd=directory)


def adopt_file(file: SocketFile) -> None:
    """Take the file of a socket that another process has made and handed over: it is removed with this one's."""
    _made.add(file)


def disown_file(file: SocketFile) -> None:
    """Leave a file to another process, which has the socket, too."""
    _made.discard(file)


def remove_files() -> None:
    """Remove the files of all Unix sockets that are still open, as `remove_file` does: the process ends right after."""
    for file in list(_made):
        remove_file(file)


@contextmanager
def _directory(path: str) -> Iterator[tuple[int, str]]:
    """Open the directory of a file, so that what is looked at and what is removed are in the same one."""
    directory, name = os.path.split(path)
    descriptor = os.open(directory, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)


def describe_file(mode: int) -> str:
    """Say what a file is, by its ``st_mode``: ``a regular file``, ``a directory``."""
    for test, words in (
        (stat.S_ISREG, "a regular file"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return words
    return "no file of a known kind"


def _replace(sock: socket.socket, address: Address, path: str) -> None:
    """Bind where a file is, if that is a socket that no process has open."""
    with _alone_in(os.path.dirname(path)):
        with suppress(FileNotFoundError), _directory(path) as (directory, name):
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
            if not stat.S_ISSOCK(mode):
                problem = (
                    f"{path} exists and is {describe_file(mode)}, not a socket: it is not removed; use another path"
                )
                raise BindError(str(address), problem, errno.EADDRINUSE)
            _refuse_live(address, path)
            os.unlink(name, dir_fd=directory)
        try:
            sock.bind(address.unix_name)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:  # made since the unlink, so by someone who is there
                raise _in_use(address, path) from None
            raise


def _refuse_live(address: Address, path: str) -> None:
    """Return if no process has the socket open.

    A datagram socket asks, for connecting it sends nothing: a stream socket answers EPROTOTYPE, even before it listens,
    and never sees a connection; a datagram socket lets it succeed, or answers EPERM if it is connected to another.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        result = probe.connect_ex(address.unix_name)
    if result in {errno.ECONNREFUSED, errno.ENOENT}:
        return
    if result == errno.EACCES:
        problem = (
            f"{path} is a socket of another user, and whether it is in use cannot be found out without its permission"
        )
        raise BindError(str(address), problem, errno.EADDRINUSE)
    raise _in_use(address, path)


def _in_use(address: Address, path: str) -> BindError:
    holder = unix_holder(path) or "a live server"
    problem = f"it is in use by {holder}; stop that or use another {'name' if address.is_abstract else 'path'}"
    return BindError(str(address), problem, errno.EADDRINUSE)


@contextmanager
def _alone_in(directory: str) -> Iterator[None]:
    """Keep other servers of this kind from looking for stale sockets in ``directory`` at the same time.

    Only as far as can be: a lock that cannot be had, or not within a second, is gone without. Anyone who can read a
    directory can lock it, and must not keep a server from starting.
    """
    import fcntl  # noqa: PLC0415  # missing where there are no Unix sockets

    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # it may be written to, but not read
        yield
        return
    try:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_S)
            except OSError:  # a file system without locks
                break
            else:
                break
        yield
    finally:
        os.close(descriptor)  # which unlocks it
