"""``penstock completion``: the script that teaches a shell our commands, options, services and codecs."""

import click
from click.shell_completion import get_completion_class

from ..config import Choice
from .commands import COMPLETION_VARIABLE, PenstockCommand
from .params import RawText

SHELLS = {
    "bash": 'eval "$(penstock completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(penstock completion zsh)"  in ~/.zshrc',
    "fish": "penstock completion fish > ~/.config/fish/completions/penstock.fish",
}


def command() -> click.Command:
    """Make the command."""
    lines = "\n".join(SHELLS.values())
    return PenstockCommand(
        "completion",
        params=[click.Argument(["shell"], type=RawText(Choice(tuple(SHELLS))))],
        callback=_completion,
        help=f"Print the completion script of a shell. To install it:\n\n\b\n{lines}",
    )


def _completion(shell: str) -> None:
    Choice(tuple(SHELLS)).check(shell)
    ctx = click.get_current_context()
    kind = get_completion_class(shell)
    assert kind is not None  # click has these three
    # Not kind(...).source(): that runs bash to learn its version, and the script itself works on all that are in use.
    script = kind(ctx.find_root().command, {}, "penstock", COMPLETION_VARIABLE)
    click.echo(script.source_template % script.source_vars())
