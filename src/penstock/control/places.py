"""Where control sockets are that were given no path: a directory that is the user's alone, with a file per process."""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigurationError


def directory_of(environ: Mapping[str, str], uid: int) -> Path:
    """Return the directory for a user's control sockets, whether it is there or not.

    ``$XDG_RUNTIME_DIR/penstock``, which is the user's and gone after the last logout; for root ``/run/penstock``; else
    ``/tmp/penstock-UID``, which needs no home.
    """
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_own(Path(runtime), uid):
        return Path(runtime) / "penstock"
    if uid == 0 and Path("/run").is_dir():
        return Path("/run/penstock")
    return Path(f"/tmp/penstock-{uid}")  # noqa: S108 - it is looked at whose it is


def make(environ: Mapping[str, str], uid: int, pid: int) -> Path:
    """Make the directory if need be; return the path for the socket of a process.

    Raises:
        ConfigurationError: It cannot be made, or others may write to it.
    """
    directory = directory_of(environ, uid)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass  # by an earlier one, if it is this user's
    except OSError as error:
        raise ConfigurationError(f"cannot make {directory}: {error.strerror}; give a path", "control") from None
    if not _is_own(directory, uid):
        raise ConfigurationError(f"{directory} is not this user's alone; give a path", "control")
    return directory / f"{pid}.sock"


def found(environ: Mapping[str, str], uid: int) -> list[Path]:
    """Return the sockets that are there, of servers that live or were killed."""
    directory = directory_of(environ, uid)
    if not _is_own(directory, uid):
        return []
    return sorted(path for path in directory.glob("*.sock") if path.is_socket())


def alive(environ: Mapping[str, str], uid: int) -> list[Path]:
    """Return those of servers that live; the files of killed ones are removed."""
    kept = []
    for path in found(environ, uid):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            result = sock.connect_ex(str(path))
        if result == errno.ECONNREFUSED:
            with contextlib.suppress(OSError):
                path.unlink()
        elif result in (0, errno.EAGAIN, errno.EINPROGRESS):
            kept.append(path)
    return kept


def _is_own(directory: Path, uid: int) -> bool:
    """Whether it is a directory, no link to one, and no other user can write to it."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and not status.st_mode & 0o022
