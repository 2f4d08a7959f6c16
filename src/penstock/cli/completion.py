"""``penstock completion``: the script that teaches a shell our commands, options, services and codecs."""

import click

from ..config import Choice
from .commands import COMPLETION_VARIABLE, PenstockCommand
from .params import RawText
from .shells import SHELLS

INSTALL = {
    "bash": 'eval "$(penstock completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(penstock completion zsh)"  in ~/.zshrc',
    "fish": "penstock completion fish > ~/.config/fish/completions/penstock.fish",
}


def command() -> click.Command:
    """Make the command."""
    lines = "\n".join(INSTALL.values())
    return PenstockCommand(
        "completion",
        params=[click.Argument(["shell"], type=RawText(Choice(tuple(INSTALL))))],
        callback=_completion,
        help=f"Print a shell completion script. To install it:\n\n\b\n{lines}",
    )


def _completion(shell: str) -> None:
    Choice(tuple(INSTALL)).check(shell)
    program = click.get_current_context().find_root().command
    click.echo(SHELLS[shell](program, {}, "penstock", COMPLETION_VARIABLE).source(), nl=False)
