"""What a process sets up for itself before it opens anything: where it is, what its files allow, what it is called."""

from __future__ import annotations

import contextlib
import os

from ..config import ProcessConfig, ServerConfig
from ..config.options import options, values
from ..errors import ConfigurationError


def enter_directory(process: ProcessConfig) -> None:
    """Go where the process is to be. Before anything is loaded, and once: a relative name would lead further.

    Raises:
        ConfigurationError: There is no such directory, or it may not be entered.
    """
    if process.chdir is None:
        return
    try:
        os.chdir(process.chdir)
    except OSError as error:
        raise ConfigurationError(f"{process.chdir}: {(error.strerror or str(error)).lower()}", "chdir") from error


def settle_in(process: ProcessConfig) -> None:
    """Set what files that are made do not allow, and what the process is called."""
    if process.umask is not None:
        os.umask(process.umask)
    if process.process_name is not None:
        # proc_pid_comm(5): the kernel cuts it to 15 bytes. Elsewhere there is no such file, and no name.
        with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as file:
            file.write(process.process_name.encode(errors="replace"))


def refuse_process_options(config: ServerConfig) -> None:
    """Refuse options of the whole process for a server that is a part of one.

    Raises:
        ConfigurationError: One is set.
    """
    plain = values(ServerConfig())
    for option in options():
        if option.section == "Process" and values(config)[option.name] != plain[option.name]:
            raise ConfigurationError(
                "is of the whole process, which is the program's own here: `penstock serve` and `penstock.run` take it",
                option.name,
            )
