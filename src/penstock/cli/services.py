"""``penstock services``: what can be served, and over which codecs."""

import json
from collections.abc import Sequence

import click

from ..codecs import CodecOption, describe_codecs
from ..config import Option
from ..installed import Group, Installed, installed
from ..services import all as all_services
from .commands import Formatter, PenstockCommand


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "services",
        params=[click.Option(["--json", "as_json"], is_flag=True, help="Print JSON.")],
        callback=_services,
        help="List the classic services and the codecs.",
    )


def _services(*, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_as_data(), indent=2))
        return
    services = [(service.name, service.summary, _flags(service.options)) for service in all_services()]
    codecs = [(codec.name, codec.summary, _keys(codec.options)) for codec in describe_codecs()]
    services += [(each.name, _origin(each, services), "") for each in installed("services")]
    codecs += [(each.name, _origin(each, codecs), "") for each in installed("codecs")]
    formatter = Formatter(max_width=100)
    for title, rows in (("Services (penstock serve NAME)", services), ("Codecs (--codec NAME)", codecs)):
        with formatter.section(title):
            formatter.write_dl([(name, f"{summary} {more}".strip()) for name, summary, more in rows])
    click.echo(formatter.getvalue().rstrip("\n"))


def _origin(brought: Installed, ours: Sequence[tuple[str, str, str]]) -> str:
    """Say which package brings it, or why it cannot be had by its name."""
    origin = f"Of the package {brought.package}: {brought.place}."
    if any(name == brought.name and not summary.startswith("Of the package") for name, summary, _ in ours):
        return f"{origin} Only as {brought.place}: the name is Penstock's own."
    return origin


def _flags(options: Sequence[Option]) -> str:
    return f"Options: {', '.join(option.flag for option in options)}." if options else ""


def _keys(options: Sequence[CodecOption]) -> str:
    """List a codec's options as a codec spec has them; those that have to be given stand without a value."""
    shown = [option.name if option.default is None else f"{option.name}={option.default}" for option in options]
    return f"Options: {', '.join(shown)}." if shown else ""


def _as_data() -> dict[str, object]:
    return {
        "services": [
            {
                "name": service.name,
                "summary": service.summary,
                "options": [
                    {"name": option.flag, "help": option.help, "allowed": option.kind.allowed}
                    for option in service.options
                ],
            }
            for service in all_services()
        ]
        + _brought("services"),
        "codecs": [
            {
                "name": codec.name,
                "summary": codec.summary,
                "options": [
                    {"name": option.name, "allowed": option.allowed, "default": option.default}
                    for option in codec.options
                ],
            }
            for codec in describe_codecs()
        ]
        + _brought("codecs"),
    }


def _brought(group: Group) -> list[dict[str, object]]:
    return [{"name": each.name, "package": each.package, "place": each.place} for each in installed(group)]
