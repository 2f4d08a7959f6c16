"""The control socket of a process that serves by itself, as `penstock.server.beside` has it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..config import LogLevel, ProcessConfig
from ..errors import ConfigurationError
from ..server.beside import Beside, Steered
from ..server.identity import identity_of
from ..server.life import Life
from . import places

if TYPE_CHECKING:
    from ..workers.supervisor import Supervisor


def controlled_by(process: ProcessConfig, set_level: Callable[[LogLevel], bool] | None = None) -> Beside | None:
    """Return what makes the control socket of a process; None where it is to have none.

    Args:
        process: Says where.
        set_level: Has the log written from a level on; None for the logger of this package.
    """
    if process.control is None:
        return None

    def make(steered: Steered) -> Life:
        from .application import application  # noqa: PLC0415  # most processes have none
        from .process import ProcessControl  # noqa: PLC0415

        control = ProcessControl(steered, set_level or _set_level)
        return application(control, path_of(process), users_of(process), _owner(process))

    return make


def supervisor_controlled_by(
    process: ProcessConfig, set_level: Callable[[LogLevel], bool]
) -> Callable[[Supervisor], Life] | None:
    """Return what makes the control socket of a supervisor; None where it is to have none. Arguments as above."""
    if process.control is None:
        return None

    def make(supervisor: Supervisor) -> Life:
        from .application import application  # noqa: PLC0415
        from .supervisor import SupervisorControl  # noqa: PLC0415

        control = SupervisorControl(supervisor, set_level)
        return application(control, path_of(process), users_of(process))

    return make


def path_of(process: ProcessConfig) -> str:
    """Return where the control socket is to be.

    Raises:
        ConfigurationError: There is no place for one that is the user's alone.
    """
    assert process.control is not None
    if process.control != "auto":
        return os.path.abspath(process.control)
    if process.user is not None:
        raise ConfigurationError("auto is for a process that stays who it is: give a path, or no --user", "control")
    return str(places.make(os.environ, os.geteuid(), os.getpid()))


def users_of(process: ProcessConfig) -> list[int]:
    """Return who may speak to it: root, who the process is, and who it becomes."""
    identity = identity_of(process)
    users = {0, os.geteuid()}
    if identity is not None and identity.uid is not None:
        users.add(identity.uid)
    return sorted(users)


def _owner(process: ProcessConfig) -> str | None:
    """Return whose the file is to be: whose the process is in the end, so that it can remove it."""
    identity = identity_of(process)
    if identity is None:
        return None
    user = "" if identity.uid is None else str(identity.uid)
    return user if identity.gid is None else f"{user}:{identity.gid}"


def _set_level(level: LogLevel) -> bool:
    logging.getLogger("penstock").setLevel(level.upper())
    return True
