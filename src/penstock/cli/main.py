"""The entry point: from the arguments to an exit status.

What goes wrong becomes one to three lines on standard error and a status of `ExitStatus`; ``--traceback`` shows more.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, TextIO

import click

from .. import __version__
from ..errors import ExitStatus
from .commands import COMPLETION_VARIABLE, CommandGroup, Run
from .report import report, usage

# What a shell reports for a process that SIGPIPE ended, which is what a filter whose reader went away did.
BROKEN_PIPE: Final = 141

_COMMANDS: Final = {
    "serve": ("serve:command", "Serve a classic service or your own."),
    "dev": ("dev.command:command", "Serve your code while you write it: restart on every change."),
    "check": ("check:command", "Check the configuration without serving."),
    "connect": ("connect:command", "Talk to a server interactively."),
    "send": ("send:command", "Send messages and print the replies."),
    "probe": ("probe:command", "Check whether servers accept connections, and how fast."),
    "cert": ("cert:command", "Make certificates for development."),
    "bench": ("bench.command:command", "Load-test a server."),
    "ctl": ("ctl.command:command", "Inspect and control a running server."),
    "services": ("services:command", "List the classic services and the codecs."),
    "completion": ("completion:command", "Print a shell completion script."),
}


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 RUF100  # click's call
    if value and not ctx.resilient_parsing:
        click.echo(f"penstock {__version__}")
        ctx.exit()


def _meant_command(arguments: Sequence[str]) -> str:
    """Say which command was meant by one that was left out: what can be served, and where can be connected to."""
    from ..services import all as all_services
    from .plan import current_directory
    from .target import is_target, module_exists

    first = arguments[0]
    if "://" in first or first.startswith("unix"):
        return f"; did you mean penstock connect {first}?"
    is_served = is_target(first) or any(service.name == first for service in all_services())
    if is_served or module_exists(first, current_directory()):
        return f"; did you mean penstock serve {first}?"
    return ""


def make_program() -> click.Group:
    """Make the command ``penstock``."""
    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Show the version and exit.",
    )
    return CommandGroup(
        "penstock",
        commands=_COMMANDS,
        package=__package__,
        hint=_meant_command,
        params=[version],
        help="The application server for raw sockets: TCP, UDP and Unix.",
        epilog="Try: penstock serve echo, and from another terminal: penstock connect tcp://127.0.0.1:9000",
    )


def main(argv: Sequence[str] | None = None, *, begin: Callable[[], object] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name; None for the process's own.
        begin: Called first: from then on CTRL+C is a status, and no traceback.

    Returns:
        The exit status.
    """
    _open_standard_descriptors()
    run = Run()
    try:
        if begin is not None:
            begin()
        status = _run(sys.argv[1:] if argv is None else list(argv), run)
        sys.stdout.flush()  # while a broken pipe can still be told from success
    except (KeyboardInterrupt, click.Abort):  # Abort is what click makes of EOF at a prompt
        status = ExitStatus.INTERRUPTED
    except BrokenPipeError:
        status = BROKEN_PIPE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        status = ExitStatus.USAGE
    except click.ClickException as error:
        status = usage(error, run)
    except Exception as error:  # noqa: BLE001 RUF100  # nothing ends in a traceback unless it is asked for
        status = report(error, run)
    _settle(sys.stdout, 1)
    _settle(sys.stderr, 2)
    return status


def _run(arguments: list[str], run: Run) -> int:
    group = make_program()
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        from .shells import shell_complete

        return shell_complete(group, {"obj": run}, "penstock", COMPLETION_VARIABLE, instruction)
    # Not group.main(): that has its own ideas of a broken pipe.
    try:
        with group.make_context("penstock", arguments, obj=run) as ctx:
            result = group.invoke(ctx)
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    return result if isinstance(result, int) else ExitStatus.OK


def _open_standard_descriptors() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed.

    Else the next file or socket opened gets the number, and what is meant for standard error is sent to a peer.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, hence this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115  # for good
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    elif hasattr(sys.stdout, "reconfigure"):
        # A locale without the characters of a message must not lose the message.
        sys.stdout.reconfigure(errors="backslashreplace")


def _settle(stream: TextIO, fd: int) -> None:
    """Write what is in a stream's buffer. What cannot be written must not change the exit status at the very end."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
