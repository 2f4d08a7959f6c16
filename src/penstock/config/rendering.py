"""How a configuration is shown: ``--print-config``, and the table in the documentation."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from .kinds import Flag
from .option import Option
from .services import OWN_WORKERS
from .sources import ORDER, Setting, Settings

TABLE_START: Final = "<!-- options: made by `make docs-tables` -->\n"
TABLE_END: Final = "<!-- end of options -->"


def render_settings(settings: Settings) -> str:
    """Write the settings as TOML, each with where it came from. An option that is not set stands in a comment."""
    return "\n".join([f"# {ORDER}", *_lines(settings)]) + "\n"


def _lines(settings: Iterable[Setting]) -> list[str]:
    lines = []
    for setting in settings:
        text = setting_text(setting)
        lines.append((text if " = " in text else f"# {text}", setting.source))
    width = min(max((len(text) for text, _ in lines), default=0), 60)
    return [f"{text:<{width}}  # {source}" for text, source in lines]


def setting_text(setting: Setting) -> str:
    """Write one setting as in the file, ``name = value``; ``name is not set`` where it has no value."""
    option, value = setting.option, setting.value
    is_set = value is not None or option.kind.format(None) != ""
    return f"{option.name} = {option.kind.toml(value)}" if is_set else f"{option.name} is not set"


def render_services(by_service: Mapping[str, Settings], general: Settings, of_process: Collection[str]) -> str:
    """Write the settings of several services as TOML, each with where it came from.

    Args:
        by_service: The settings of each.
        general: What is said of all of them.
        of_process: The options that all of them share.
    """
    shared = [setting for setting in next(iter(by_service.values())) if setting.option.name in of_process]
    of_all = general.by_name
    shared = [of_all[OWN_WORKERS] if each.option.name == OWN_WORKERS else each for each in shared]
    lines = [f"# {ORDER}", *_lines(shared)]
    for name, settings in by_service.items():
        own = [
            each
            for each in settings
            if each.option.name not in of_process or (each.option.name == OWN_WORKERS and each != of_all[OWN_WORKERS])
        ]
        lines += ["", f"[service.{name}]", *_lines(own)]
    return "\n".join(lines) + "\n"


def render_table(options: Sequence[Option]) -> str:
    """Write the options as the Markdown tables of the documentation, one for each section."""
    sections: dict[str, list[Option]] = {}
    for option in options:
        sections.setdefault(option.section, []).append(option)
    return "\n".join(f"### {section}\n\n{_table(members)}" for section, members in sections.items())


def update_table(page: str, options: Sequence[Option]) -> str:
    """Return a page of the documentation with the table between its two markers made anew."""
    before, start, rest = page.partition(TABLE_START)
    _, end, after = rest.partition(TABLE_END)
    return f"{before}{start}\n{render_table(options)}\n{end}{after}"


def flags(option: Option) -> list[str]:
    """Return the flags of an option as ``--help`` shows them, without the placeholder of its value."""
    names = [option.flag, f"--no-{option.flag[2:]}"] if isinstance(option.kind, Flag) else [option.flag]
    return [*([option.short] if option.short else []), *names, *option.shorthands]


def _table(options: Iterable[Option]) -> str:
    rows = [("option", "variable", "default", "values", "what it does"), ("---",) * 5]
    for option in options:
        default = option.default_shown
        rows.append(
            (
                ", ".join(f"`{flag}`" for flag in flags(option)),
                f"`{option.variable}`",
                f"`{default}`" if default and option.default_text is None else default,
                option.kind.allowed,
                f"{option.help}.",
            )
        )
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)
