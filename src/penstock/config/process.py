"""Options of the process that a server is the whole purpose of: who it is, where it is, how it is told and found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError
from .kinds import File, Mode, Text, Unless, quote
from .option import check_fields, declare

# In place of a path: a socket in a directory of the user's.
AUTO_CONTROL: Final = "auto"


@dataclass(frozen=True, slots=True)
class ControlPath(File):
    """Where a control socket is."""

    metavar: str = "PATH"
    allowed: str = "the path of a Unix socket, or auto"
    optional: bool = True

    def check(self, value: object) -> None:
        """Refuse what is no path.

        Raises:
            ConfigurationError: It is an address, or a name without permissions.
        """
        Text.check(self, value)
        if isinstance(value, str) and (not value or value.startswith(("@", "unix:")) or "://" in value):
            raise ConfigurationError(f"{quote(value)} is not {self.allowed}")

    def beside(self, value: object, directory: Path) -> object:
        """Return what is meant by it in a file of ``directory``."""
        return value if value == AUTO_CONTROL else File.beside(self, value, directory)


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """What is one for the whole process. A server in a loop of the program's own (`serve`) takes none of it.

    Attributes:
        pid_file: Where the process's number stands while it serves; None for nowhere.
        user: Who the process becomes once every address is open, by name or number; None to stay who it is.
        group: Its group from then on, by name or number; None for the user's own.
        umask: What files that are made do not allow; None for what was inherited.
        chdir: Where the process goes before anything is loaded; None to stay where it is.
        process_name: What ``ps`` and ``top`` call the process; None for the interpreter's name.
        control: The path of the Unix socket over which `penstock ctl` speaks to the server, ``auto`` for one in a
            directory of the user's; None for none.
    """

    pid_file: str | None = declare(
        None,
        "pid_file",
        File("FILE", "the name of a file", optional=True),
        "Process",
        "Write the process's number to this file while it serves",
        default_text="none",
    )
    user: str | None = declare(
        None,
        "user",
        Text("USER", "a user's name or number", optional=True),
        "Process",
        "Become this user once every address is open",
        default_text="none",
    )
    group: str | None = declare(
        None,
        "group",
        Text("GROUP", "a group's name or number", optional=True),
        "Process",
        "Become a member of only this group, once every address is open",
        default_text="the user's own groups",
    )
    umask: int | None = declare(
        None,
        "umask",
        Unless(Mode()),
        "Process",
        "Permissions to remove from files that the server makes",
        default_text="inherited",
    )
    chdir: str | None = declare(
        None,
        "chdir",
        File("DIR", "the name of a directory", optional=True),
        "Process",
        "Change to this directory before the service is loaded",
        default_text="none",
    )
    process_name: str | None = declare(
        None,
        "process_name",
        Text("NAME", "text", optional=True),
        "Process",
        "What ps and top call the process; 15 bytes are shown",
        default_text="none",
    )

    control: str | None = declare(
        None,
        "control",
        ControlPath(),
        "Process",
        "Unix socket for `penstock ctl`; auto: a path that ctl finds by itself",
        default_text="none",
    )

    def __post_init__(self) -> None:
        check_fields(self)
