"""Write docs/penstock.1, the manual page, from what ``--help`` and ``penstock services`` say."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from penstock import __version__
from penstock.cli.commands import CommandGroup, PenstockCommand, Run
from penstock.cli.main import make_program
from penstock.codecs import CodecOption, describe_codecs
from penstock.services import all as all_services

PAGE = Path(__file__).parent.parent / "docs" / "penstock.1"

FILES = {
    "penstock.toml": 'Options of serve, as timeout_idle = "5m"; looked for in the current directory.',
    "pyproject.toml": "The same, in its table [tool.penstock], where there is no penstock.toml.",
    "$XDG_RUNTIME_DIR/penstock/": "Control sockets of servers with --control auto; /run/penstock for root, "
    "/tmp/penstock-UID where the variable is not set.",
    "$XDG_STATE_HOME/penstock/history": "What was typed at the prompt of connect, a file for each address; "
    "~/.local/state where the variable is not set.",
}
ENVIRONMENT = {
    "PENSTOCK_CONFIG": "The configuration file.",
    "PENSTOCK_CODEC": "The codec of serve, connect, send and bench where --codec is not given.",
    "PENSTOCK_CONTROL": "The control socket of serve, and of the server that ctl speaks to.",
    "PENSTOCK_...": "Every other option of serve, in capitals: PENSTOCK_TIMEOUT_IDLE.",
    "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES": "Sockets that systemd opened, which serve takes over.",
    "NO_COLOR, FORCE_COLOR, TERM": "Whether a terminal is shown colours.",
}


def escape(text: str) -> str:
    """Write text so that roff prints it as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("``", "").replace("`", "")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def paragraphs(text: str | None) -> Iterator[str]:
    """Write paragraphs; one that begins with a backspace keeps its lines, as in ``--help``."""
    for paragraph in (text or "").strip().split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield f".PP\n.nf\n{escape(paragraph[2:])}\n.fi"
        elif paragraph:
            yield f".PP\n{escape(paragraph)}"


def tagged(term: str, text: str) -> str:
    """Write one entry of a list, whose term is options in bold and what they take in italics, or one thing in bold."""
    if not term.startswith("-"):
        return f".TP\n\\fB{escape(term)}\\fR\n{escape(text)}"
    words = (
        word
        if word == "/"
        else f"\\f{'B' if word.startswith('-') else 'I'}{escape(word.rstrip(','))}\\fR" + word[len(word.rstrip(",")) :]
        for word in term.split()
    )
    return f".TP\n{' '.join(words)}\n{escape(' '.join(text.split()))}"


def command_lines(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    """Write one command: how it is called, what it does, its options by section, its exit status."""
    ctx = click.Context(command, parent=parent, info_name=name, **command.context_settings)
    if isinstance(command, CommandGroup):
        for each in command.list_commands(ctx):
            inner = command.get_command(ctx, each)
            assert inner is not None
            yield from command_lines(inner, each, ctx)
        return
    assert isinstance(command, PenstockCommand)
    yield f'.SS "{escape(" ".join([ctx.command_path, *command.collect_usage_pieces(ctx)]))}"'
    yield from paragraphs(command.help)
    for section, records in command.sections(ctx).items():
        yield f".PP\n.B {escape(section)}"
        yield from (tagged(*record) for record in records)
    yield from paragraphs(command.epilog)


def page() -> str:
    """Return the whole page."""
    program = make_program()
    top = click.Context(program, info_name="penstock", obj=Run())
    lines = [
        '.\\" Made by tools/man_page.py from the help of the program.',
        f'.TH PENSTOCK 1 "" "penstock {__version__}" "User Commands"',
        ".nh\n.ad l",
        f".SH NAME\npenstock \\- {escape((program.help or '').rstrip('.'))}",
        ".SH SYNOPSIS\n.B penstock\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR] ...",
        ".SH DESCRIPTION",
        *paragraphs(program.epilog),
        ".SH COMMANDS",
    ]
    for name in program.list_commands(top):
        command = program.get_command(top, name)
        assert command is not None
        lines += command_lines(command, name, top)
    lines += [".SH SERVICES", *(tagged(each.name, each.summary) for each in all_services())]
    lines += [".SH CODECS", *(tagged(each.name, _codec_text(each.summary, each.options)) for each in describe_codecs())]
    lines += [".SH ENVIRONMENT", *(tagged(*entry) for entry in ENVIRONMENT.items())]
    lines += [".SH FILES", *(tagged(*entry) for entry in FILES.items())]
    return "\n".join(lines) + "\n"


def _codec_text(summary: str, options: Iterable[CodecOption]) -> str:
    keys = ", ".join(each.name if each.default is None else f"{each.name}={each.default}" for each in options)
    return f"{summary} Options: {keys}." if keys else summary


def main() -> None:
    """Write the page if it has changed."""
    text = page()
    if not PAGE.exists() or PAGE.read_text() != text:
        PAGE.write_text(text)
        print("updated docs/penstock.1")


if __name__ == "__main__":
    main()
