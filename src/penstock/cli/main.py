"""The entry point: from the arguments to an exit status.

What goes wrong becomes one to three lines on standard error and a status of `ExitStatus`; ``--traceback`` shows more.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from ..errors import ExitStatus
from .commands import CommandGroup, Run
from .report import report, usage

# What a shell reports for a process that SIGPIPE ended, which is what a filter whose reader went away did.
BROKEN_PIPE: Final = 141

_COMMANDS: Final = {
    "serve": ("serve:command", "Serve a classic service, or your own."),
    "check": ("check:command", "Check what serve would do, without doing it."),
    "connect": ("connect:command", "Talk to a server: what you type is sent, what it says is shown."),
    "send": ("send:command", "Send messages and print the replies."),
    "services": ("services:command", "List the classic services and the codecs."),
    "completion": ("completion:command", "Print the completion script of a shell."),
}


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 RUF100  # click's call
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"penstock {version('penstock')}")
        ctx.exit()


def _make() -> click.Group:
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
        params=[version],
        help="The application server for raw sockets: TCP, UDP and Unix.",
        epilog="Try: penstock serve echo, and from another terminal: penstock connect tcp://127.0.0.1:9000",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name; None for the process's own.

    Returns:
        The exit status.
    """
    _open_standard_descriptors()
    run = Run()
    try:
        result = _make().main(
            args=None if argv is None else list(argv), prog_name="penstock", standalone_mode=False, obj=run
        )
        _flush()
    except click.Abort:  # what click makes of KeyboardInterrupt and of EOF at a prompt
        return ExitStatus.INTERRUPTED
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        _silence()
        return BROKEN_PIPE
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        return ExitStatus.USAGE
    except click.ClickException as error:
        return usage(error, run)
    except Exception as error:  # noqa: BLE001 RUF100  # nothing ends in a traceback unless it is asked for
        return report(error, run)
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


def _flush() -> None:
    """Write what is still in Python's buffer while a broken pipe can still be reported properly."""
    sys.stdout.flush()


def _silence() -> None:
    """Point standard output at nothing, so that the interpreter's last flush does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
