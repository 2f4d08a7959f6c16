"""Who the process is: it begins as root, opens what only root may open, and becomes somebody else for good."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from ..config import ProcessConfig
from ..errors import ConfigurationError, LimitError

try:
    import grp
    import pwd
except ImportError:  # Windows
    pwd = grp = None  # type: ignore[assignment]

_ROOT = 0
_NO_USERS = "this system has no users and groups to change to"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is to be.

    Attributes:
        uid: Its user; None to keep the one it has.
        gid: Its group; None to keep the one it has.
        name: The user's name, whose further groups it gets; None where it gets none.
    """

    uid: int | None
    gid: int | None
    name: str | None = None

    def assume(self) -> None:
        """Become it, for good: real, effective and saved, with its further groups.

        Groups first: without root's rights there is no changing them. What is left afterwards is looked at, and not
        taken for granted: a process that could become root again would only look harmless.

        Raises:
            LimitError: The system refuses, or root could be had back.
        """
        try:
            if self.gid is not None:
                if self.name is not None:
                    os.initgroups(self.name, self.gid)
                else:
                    os.setgroups([self.gid])
                _set_all("gid", self.gid)
            if self.uid is not None:
                _set_all("uid", self.uid)
        except OSError as error:
            raise LimitError(f"cannot become {self}: {(error.strerror or str(error)).lower()}") from error
        self._verify()

    def _verify(self) -> None:
        for kind, wanted in (("gid", self.gid), ("uid", self.uid)):
            if wanted is not None and {getattr(os, f"get{kind}")(), getattr(os, f"gete{kind}")()} != {wanted}:
                raise LimitError(f"cannot become {self}: the system left the {kind} as it was")
        if self.uid in (None, _ROOT):
            return
        for regain in (os.setuid, os.seteuid):
            with contextlib.suppress(PermissionError):
                regain(_ROOT)
                raise LimitError(f"the process became {self}, and could become root again: it does not serve")

    def __str__(self) -> str:
        user = [] if self.uid is None else [f"user {self.name or self.uid}"]
        return " of ".join([*user, *([] if self.gid is None else [f"group {self.gid}"])])


def _set_all(kind: str, number: int) -> None:
    """Set the real, the effective and the saved one."""
    of_all = getattr(os, f"setres{kind}", None)
    if of_all is not None:
        of_all(number, number, number)
    else:  # macOS: of root, this sets all three
        getattr(os, f"set{kind}")(number)


def identity_of(process: ProcessConfig) -> Identity | None:
    """Return who the process is to become; None where it is to stay who it is, or is that already.

    Raises:
        ConfigurationError: There is no such user, or no such group.
        LimitError: The process is not root's, and may not become anybody else.
    """
    if process.user is None and process.group is None:
        return None
    uid, gid, name = _user(process.user, "user") if process.user is not None else (None, None, None)
    if process.group is not None:
        gid = _group(process.group, "group")
    elif gid is None:
        raise ConfigurationError(f"user {process.user} has no entry, and so no group: give one, too", "group")
    if os.geteuid() != _ROOT:
        if uid in (None, os.getuid()) and gid == os.getgid():
            return None
        raise LimitError(
            f"only root may become {Identity(uid, gid, name)}: start as root, or leave --user and --group out"
        )
    return Identity(uid, gid, name)


def owner_of(text: str | None, process: ProcessConfig) -> tuple[int, int] | None:
    """Return whose a file is to be that is made for ``process``, as chown(2) takes it; None for the user who makes it.

    Args:
        text: ``USER``, ``USER:GROUP`` or ``:GROUP``; None for whom the process becomes.
        process: Says whom.

    Raises:
        ConfigurationError: There is no such user, or no such group.
        LimitError: As `identity_of`.
    """
    if text is None:
        identity = identity_of(process)
        if identity is None:
            return None
        return -1 if identity.uid is None else identity.uid, -1 if identity.gid is None else identity.gid
    user, _, group = text.partition(":")
    uid = _user(user, "uds_owner")[0] if user else -1
    gid = _group(group, "uds_owner") if group else -1
    return uid, gid


def _user(text: str, where: str) -> tuple[int, int | None, str | None]:
    """Return a user's number, group and name; a number needs no entry."""
    if pwd is None:
        raise ConfigurationError(_NO_USERS, where)
    try:
        entry = pwd.getpwuid(_number(text)) if text.isdecimal() else pwd.getpwnam(text)
    except KeyError:
        if text.isdecimal():
            return _number(text), None, None
        raise ConfigurationError(f"there is no user {text!r}", where) from None
    except OverflowError:
        raise ConfigurationError(f"{text} is no user's number", where) from None
    return entry.pw_uid, entry.pw_gid, entry.pw_name


def _group(text: str, where: str) -> int:
    if grp is None:
        raise ConfigurationError(_NO_USERS, where)
    if text.isdecimal():
        return _number(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise ConfigurationError(f"there is no group {text!r}", where) from None


def _number(text: str) -> int:
    # The highest one, -1 to chown(2) and setresuid(2), means "as it is".
    if int(text) >= 2**32 - 1:
        raise ConfigurationError(f"{text} is no user's or group's number")
    return int(text)
