"""Completion: what the program answers a shell's script, and the shells themselves, with keys pressed."""

import shutil
import sys

import pytest


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("penstock se", {"serve", "send", "services"}),
        ("penstock serve ec", {"echo", "ec"}),
        ("penstock serve echo --codec net", {"netstring"}),
        ("penstock serve echo --codec=net", {"--codec=netstring"}),
        ("penstock serve echo --model ", {"loop", "threads", "one-at-a-time", "process"}),
        ("penstock serve echo --timeout-i", {"--timeout-idle"}),
        ("penstock serve 'e", {"echo", "e"}),
        ("penstock connect tcp://x:1 --codec json-", {"json-lines"}),
        ("penstock probe tcp://x:1 unix+", {"unix+dgram:", "unix+seqpacket:"}),
        ("penstock completion f", {"fish"}),
        ("penstock nothing ", set()),
    ],
)
def test_a_shell_is_told_what_fits(penstock, line, offered):
    """Commands, options, services or files, codecs, choices, and what addresses begin with."""
    done = penstock(env={"_PENSTOCK_COMPLETE": "bash_complete", "COMP_LINE": line})

    assert offered == {answer.split("\t")[1] for answer in done.stdout.splitlines() if answer}


def test_a_word_is_described(penstock):
    """For the shells that show it."""
    done = penstock(env={"_PENSTOCK_COMPLETE": "zsh_complete", "COMP_LINE": "penstock serve echo"})

    assert ["plain\techo\tEcho everything back (RFC 862).", "file\techo\t"] == done.stdout.splitlines()


SETUP = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'PS1="$ "; eval "$(penstock completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        "PROMPT='$ '; unsetopt prompt_sp; autoload -U compinit; compinit -u -D; "
        'eval "$(penstock completion zsh)"; setopt list_rows_first',
    ),
    "fish": (["fish", "--no-config", "-i"], "function fish_prompt; echo '$ '; end; penstock completion fish | source"),
}


@pytest.fixture(params=SETUP)
def shell(request, terminal, directory, environ):
    """A shell that knows how to complete ``penstock``, at its prompt."""
    command, setup = SETUP[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    program = directory / "bin" / "penstock"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m penstock "$@"\n')
    program.chmod(0o755)
    (directory / "mine.toml").write_text("")
    started = terminal(
        *command, env={"PATH": f"{program.parent}:{environ['PATH']}", "HOME": str(directory), "INPUTRC": "/dev/null"}
    )
    started.wait_for_prompt = lambda: started.wait_until(lambda: started.lines[-1:] == ["$"])
    started.type(f"{setup}; clear\r")
    started.wait_for_prompt()
    return started


COMPLETED = {
    "penstock prob": "penstock probe",
    "penstock serve gree": "penstock serve greeter",
    "penstock serve echo --timeout-i": "penstock serve echo --timeout-idle",
    "penstock serve echo --codec nets": "penstock serve echo --codec netstring",
    "penstock serve echo --codec=nets": "penstock serve echo --codec=netstring",
    "penstock serve echo --model=one": "penstock serve echo --model=one-at-a-time",
    "penstock serve echo --bind tc": "penstock serve echo --bind tcp://",
    "penstock connect unix+d": "penstock connect unix+dgram:",
    "penstock serve echo --config mi": "penstock serve echo --config mine.toml",
    "penstock serve echo --config=mi": "penstock serve echo --config=mine.toml",
    "penstock serve ap": "penstock serve app.py",
}


@pytest.mark.outside
def test_a_word_is_completed(shell):
    """A command, a service, an option, a codec, a choice, the beginning of an address, a file."""
    for typed, completed in COMPLETED.items():
        shell.type(f"{typed}\t")
        shell.wait_until(lambda completed=completed: shell.lines[-1] == f"$ {completed}")
        shell.type("\x15")  # CTRL+U: the line is empty again
        shell.wait_for_prompt()


@pytest.mark.outside
def test_what_fits_is_listed(shell):
    """Two codecs begin like that."""
    shell.type("penstock connect tcp://localhost:1 --codec l\t\t")
    shell.wait_until(lambda: {"lines", "length-prefixed"} <= set(" ".join(shell.lines).split()))
