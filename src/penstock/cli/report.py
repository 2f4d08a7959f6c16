"""How an error reaches the user: what, where, what is allowed, what to do; on standard error, in one to three lines."""

import contextlib
import errno

import click

from ..errors import ExitStatus, PenstockError
from .commands import ExtraArgumentsError, Run

# What other servers call what is called otherwise here.
_ELSEWHERE = {
    "--host": "--bind tcp://HOST:PORT",
    "--port": "--bind tcp://HOST:PORT",
    "-p": "--bind tcp://HOST:PORT",
    "--uds": "--bind unix:PATH",
    "--fd": "--bind fd://NUMBER",
    "--graceful-timeout": "--timeout-drain",
    "--framing": "--codec",
    "--certfile": "--tls-cert",
    "--keyfile": "--tls-key",
    "--ssl-cert-reqs": "--tls-client-auth",
    "--name": "--process-name NAME",
    "--pid": "--pid-file FILE",
}

# What is in the way of writing, and no mistake of ours: a full disk, a quota, a limit, a terminal that is gone.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def warn(text: str) -> None:
    """Tell the user something that stops nothing."""
    _say(f"penstock: warning: {text}")


def fail(text: str) -> None:
    """Tell the user why nothing is done. A text of several lines is several errors, or an error with its details."""
    first, *rest = text.split("\n")
    lines = [f"penstock: error: {first}"]
    lines += [line if line.startswith(" ") else f"penstock: error: {line}" for line in rest]
    _say("\n".join(lines))


def _say(text: str) -> None:
    # The disk is full or the reader is gone: the exit status is told all the same.
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def usage(error: click.ClickException, run: Run) -> int:
    """Report a mistake in the arguments.

    Returns:
        The exit status.
    """
    if run.traceback:
        import traceback

        traceback.print_exception(error)
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else run.command
    text = _usage_text(error)
    fail(f"{text}\n  {command} --help shows what is allowed")
    return ExitStatus.USAGE


def _usage_text(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption):
        from ..config import nearest

        known = [flag for param in error.ctx.command.params for flag in param.opts] if error.ctx else []
        elsewhere = _ELSEWHERE if "--bind" in known else {}
        meant = nearest(error.option_name, [*known, *elsewhere])
        hint = (
            "" if meant is None else f"; write {elsewhere[meant]}" if meant in elsewhere else f"; did you mean {meant}?"
        )
        return f"unknown option {error.option_name}{hint}"
    text = error.format_message().rstrip(".")
    if isinstance(error, ExtraArgumentsError) and error.ctx is not None:
        url = error.ctx.params.get("url")
        if url is not None and len(error.extra) == 1 and error.extra[0].isdecimal():  # as netcat has it
            text += f"; write {url}:{error.extra[0]}"
    return text[:1].lower() + text[1:]


def report(error: Exception, run: Run) -> int:
    """Report what a command ended with.

    Returns:
        The exit status.
    """
    import traceback

    if run.traceback:
        traceback.print_exception(error)
    if isinstance(error, PenstockError):
        fail(str(error))
        return error.exit_status
    if isinstance(error, OSError) and error.errno in _FULL:
        fail(f"cannot write standard output: {(error.strerror or str(error)).lower()}")
    elif not run.traceback:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}:{frame.lineno}"
        fail(f"unexpected {type(error).__name__}: {error}\n  at {where}; --traceback shows all of it")
    return ExitStatus.FAILED
