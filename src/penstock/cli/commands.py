"""What every command has in common: lazy loading, ``--help`` by section, ``--traceback``, "did you mean"."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# What the completion scripts of click set.
COMPLETION_VARIABLE: Final = "_PENSTOCK_COMPLETE"

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
# Given for all and for one service in one command: how many workers there are, and that one of them has a service.
_TWICE: Final = ("workers",)

_SCOPED_FLAGS: Final = "penstock.scoped_flags"
# A hyphen at which textwrap does not break.
_NO_BREAK: Final = "\N{NON-BREAKING HYPHEN}"


class Run:
    """What is known about this run of the program.

    Attributes:
        traceback: Whether an error is shown with its traceback.
        command: The command's full name, as ``penstock serve``.
    """

    def __init__(self) -> None:
        self.traceback = False
        self.command = "penstock"


def _set_traceback(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 RUF100  # click's call
    run = ctx.find_object(Run)
    if run is not None and value:
        run.traceback = True


class Formatter(click.HelpFormatter):
    """Wraps text between words only: ``--max-connections`` is found whole, and can be copied."""

    def write_text(self, text: str) -> None:
        """Write a paragraph."""
        super().write_text(text.replace("-", _NO_BREAK))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write terms and what they are."""
        super().write_dl([(term, text.replace("-", _NO_BREAK)) for term, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        """Return what was written."""
        return super().getvalue().replace(_NO_BREAK, "-")


class Context(click.Context):
    """The context of our commands."""

    formatter_class = Formatter


class ExtraArgumentsError(click.UsageError):
    """More arguments were given than the command takes.

    Args:
        extra: Those that are too many.
        ctx: The context of the command.
    """

    def __init__(self, extra: Sequence[str], ctx: click.Context) -> None:
        super().__init__(f"got unexpected extra argument{'s' * (len(extra) > 1)} ({' '.join(extra)})", ctx)
        self.extra = tuple(extra)


class SectionOption(click.Option):
    """An option that stands under a heading in ``--help``."""

    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:  # Any: click's arguments
        super().__init__(*args, **kwargs)
        self.section = section


class PenstockCommand(click.Command):
    """A command whose options stand under headings, and that takes ``--traceback``."""

    context_class = Context

    def __init__(
        self, name: str, *, params: Sequence[click.Parameter], **kwargs: Any
    ) -> None:  # Any: click's arguments
        traceback = click.Option(
            ["--traceback"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_set_traceback,
            help="Show the traceback of an error.",
        )
        # What is too much is refused in `parse_args`, in words that are ours.
        settings = {**CONTEXT, "allow_extra_args": True}
        super().__init__(name, params=[*params, traceback], context_settings=settings, **kwargs)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Note which command runs before its arguments are looked at: a complaint about them names it."""
        run = parent.find_object(Run) if parent is not None else None
        if run is not None:
            run.command = f"{run.command} {info_name}"
            # Eager options are too late for a mistake in the arguments before them.
            run.traceback = run.traceback or "--traceback" in args
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments.

        Raises:
            ExtraArgumentsError: There are too many.
        """
        extra = super().parse_args(ctx, self._without_scoped(ctx, args))
        if extra and not ctx.resilient_parsing:
            raise ExtraArgumentsError(extra, ctx)
        return extra

    def _without_scoped(self, ctx: click.Context, args: Sequence[str]) -> list[str]:
        """Take flags for single services out of the arguments, as ``--access-log admin=false``: click has no such."""
        flags = {
            param.opts[0]: param.name
            for param in self.params
            if isinstance(param, SectionOption)
            and (param.secondary_opts or param.name in _TWICE)
            and param.name is not None
        }
        found: dict[str, list[str]] = ctx.meta.setdefault(_SCOPED_FLAGS, {})
        rest: list[str] = []
        waiting = list(args)
        while waiting and waiting[0] != "--":
            word = waiting.pop(0)
            flag, equals, value = word.partition("=")
            if flag in flags and equals and _names_a_service(value):
                found.setdefault(flags[flag], []).append(value)
            elif word in flags and waiting and _names_a_service(waiting[0]):
                found.setdefault(flags[word], []).append(waiting.pop(0))
            else:
                rest.append(word)
        return [*rest, *waiting]

    def sections(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """Return how options are written and what they do, in the order in which sections first appear.

        Those that all commands have come last.
        """
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                sections.setdefault(getattr(param, "section", "Options"), []).append(record)
        sections["Options"] = sections.pop("Options")
        return sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        for section, records in self.sections(ctx).items():
            with formatter.section(section):
                formatter.write_dl(records)


def _names_a_service(text: str) -> bool:
    if "=" not in text:
        return False
    from ..config.services import names_a_service

    return names_a_service(text)


def scoped_flags(ctx: click.Context, name: str) -> tuple[str, ...]:
    """Return what was written of a flag for single services, each as ``NAME=VALUE``."""
    return tuple(ctx.meta.get(_SCOPED_FLAGS, {}).get(name, ()))


class CommandGroup(click.Group):
    """A group that knows the names and the summaries of its commands, and imports a command when it runs.

    Args:
        commands: For each name, ``module:function`` within ``package`` and the summary. The function makes the command.
        package: Where the modules are.
        hint: Asked first when there is no command of a name, with all that follows: returns "; did you mean …?", or
            nothing.
    """

    context_class = Context

    def __init__(
        self,
        name: str,
        *,
        commands: Mapping[str, tuple[str, str]],
        package: str,
        hint: Callable[[Sequence[str]], str] = lambda _: "",
        **kwargs: Any,  # Any: click's arguments
    ) -> None:
        super().__init__(name, context_settings=CONTEXT, **kwargs)
        self._hint = hint
        self._lazy = commands
        self._package = package

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Note which group a command is looked for in, where it is one of another's."""
        run = parent.find_object(Run) if parent is not None else None
        if run is not None:
            run.command = f"{run.command} {info_name}"
        return super().make_context(info_name, args, parent, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the help."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and make one command."""
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        make = cast("Callable[[], click.Command]", getattr(import_module(f".{module}", self._package), attribute))
        return make()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names.

        Raises:
            click.UsageError: There is none of that name; the nearest is named.
        """
        if args[0] not in self._lazy and not args[0].startswith("-"):
            from ..config import did_you_mean

            # What is near costs nothing; what it might be called as reads services.
            hint = did_you_mean(args[0], self._lazy) or self._hint(args)
            ctx.fail(f"unknown command {args[0]!r}{hint or ': there are ' + ', '.join(self._lazy)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        """Offer commands with their summaries, without importing any, and options."""
        from click.shell_completion import CompletionItem

        names = [name for name in self._lazy if name.startswith(incomplete)]
        found = [CompletionItem(name, help=self._lazy[name][1]) for name in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from their summaries, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._lazy.items()])
