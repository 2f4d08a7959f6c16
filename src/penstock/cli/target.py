"""Finding what the user names: ``module:object``, ``module``, ``file.py:object`` or ``file.py``.

Whatever is wrong with the user's code is said in terms of the user's code: no frame of ours or of the import system.
"""

import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final

from ..adapters import COMMANDS, is_foreign, on_import, service_of
from ..app import App
from ..config import did_you_mean
from ..core.handlers import Handler
from ..core.places import shown
from ..core.service import Service
from ..errors import ApplicationError, ConfigurationError, PenstockError

# How much of the user's own stack is shown: where it failed and how it was reached.
MAX_FRAMES: Final = 8


def is_target(text: str) -> bool:
    """Whether ``text`` can only name the user's own: it has a colon, is a file of Python, or a module in a package."""
    return ":" in text or text.endswith(".py") or "." in text or os.sep in text


def load_target(
    text: str, directory: Path, *, factory: bool = False, kind: str | None = None
) -> Service[Any] | App[Any]:
    """Import what ``text`` names, and make a service of it unless it is an application.

    Args:
        text: ``module:object``, ``module``, ``file.py:object`` or ``file.py``; the object may be dotted. Of a kind
            among `adapters.COMMANDS`, a command line.
        directory: Where modules are looked for first, and what the path of a file is relative to.
        factory: Whether it names a function that makes what is to be served, and is called without arguments.
        kind: What kind of handler it is, by one of `adapters.WORDS`; None to tell by what it is.

    Raises:
        ApplicationError: The module cannot be imported, does not hold the object, or the object is no handler.
        ConfigurationError: The text has no such form, or the service's codec is wrong.
    """
    if kind in COMMANDS:
        return service_of(text, kind=kind)
    if text.endswith(".toml"):
        raise ConfigurationError(f"{text} is a configuration file, not a service: write SERVICE --config {text}")
    source, colon, attribute = text.rpartition(":") if ":" in text else (text, "", "")
    if not source or (colon and not all(part.isidentifier() for part in attribute.split("."))):
        raise ConfigurationError(f"{text!r} is not a target: write module:object, module, file.py:object or file.py")
    with on_import():
        module = _import_file(source, directory) if source.endswith(".py") else _import_module(source, directory)
    name, target = _find(module, source, attribute) if attribute else _find_only(module, source)
    if factory:
        target = _made(target, f"{source}:{name}")
    if isinstance(target, App):
        return target
    try:
        service = service_of(target, kind=kind, name=name.rpartition(".")[2])
    except ApplicationError as error:
        makes = _takes_nothing(target) and name.rpartition(".")[2].startswith(("make", "create", "build"))
        hint = "; if it makes an application, say so with --factory" if makes and not factory else ""
        raise ApplicationError(f"{source}:{name}: {error}{hint}") from error
    except ConfigurationError as error:
        raise ConfigurationError(error.problem, f"{source}:{name}") from error
    return service


def _made(target: object, where: str) -> object:
    """Call what ``--factory`` says is one.

    Raises:
        ApplicationError: It cannot be called without arguments, or it failed.
    """
    if not callable(target) or isinstance(target, Service) or not _takes_nothing(target):
        raise ApplicationError(f"{where} is no factory: --factory is for a function without arguments")
    try:
        return target()
    except (Exception, SystemExit) as error:
        raise _explain(error, where, "cannot call") from error


def _takes_nothing(target: object) -> bool:
    """Whether it is a function that can be called without arguments."""
    if not inspect.isroutine(target):
        return False
    try:
        inspect.signature(target).bind()
    except (TypeError, ValueError):
        return False
    return True


def module_exists(name: str, directory: Path) -> bool:
    """Whether a module of that name can be found, without importing it."""
    if not all(part.isidentifier() for part in name.split(".")):
        return False
    look_in(directory)
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def look_in(directory: Path) -> None:
    """Have modules looked for in ``directory`` first."""
    if sys.path[:1] != [str(directory)]:
        sys.path.insert(0, str(directory))
        importlib.invalidate_caches()


def _import_module(name: str, directory: Path) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        hint = f"; write {name}.py for a file" if (directory / f"{name}.py").is_file() else ""
        raise ApplicationError(f"{name!r} is not a module name{hint}")
    look_in(directory)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only when it is this module, or a package it is in: else the module is there and misses another one.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _explain(error, name) from error
        parent = error.name.rpartition(".")[0]
        if parent in sys.modules and not hasattr(sys.modules[parent], "__path__"):
            hint = f"; {parent!r} is not a package"
        else:
            hint = did_you_mean(name, _modules_in(directory))
        raise ApplicationError(
            f"no module named {error.name}; looked in {directory} and on Python's path{hint}"
        ) from None
    except (Exception, SystemExit) as error:
        raise _explain(error, name) from error


def _import_file(source: str, directory: Path) -> ModuleType:
    path = directory / source
    if not path.is_file():
        hint = did_you_mean(path.name, (f"{name}.py" for name in _modules_in(path.parent)))
        raise ApplicationError(f"no such file: {source}; looked in {path.parent}{hint}")
    name = path.stem
    look_in(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As the import system does: pickling, dataclasses and circular imports find the module under its name.
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise _explain(error, source) from error
    return module


def _modules_in(directory: Path) -> list[str]:
    try:
        entries = list(directory.iterdir())
    except OSError:
        return []
    files = [entry.stem for entry in entries if entry.suffix == ".py" and entry.stem.isidentifier()]
    return files + [entry.name for entry in entries if (entry / "__init__.py").is_file()]


def _find(module: ModuleType, source: str, attribute: str) -> tuple[str, object]:
    target: object = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            known = list(_handlers(module))
            holds = f"it holds {', '.join(known)}" if known else "it holds no service and no handler"
            raise ApplicationError(f"{source} has no {attribute}; {holds}{did_you_mean(attribute, known)}")
        target = getattr(target, part)
    return attribute, target


def _find_only(module: ModuleType, source: str) -> tuple[str, object]:
    services = _applications(module) or _services(module)
    if len(services) == 1:
        return next(iter(services.items()))
    if services:
        names = ", ".join(services)
        raise ApplicationError(
            f"{source} holds {len(services)} services: {names}; say which: {source}:{next(iter(services))}"
        )
    functions = list(_handlers(module))
    hint = f"; say which function: {source}:{functions[0]}" if functions else "; decorate a function with on_message"
    raise ApplicationError(f"{source} holds no service{hint}")


def _applications(module: ModuleType) -> dict[str, object]:
    """Find the applications of a module, each once, under its first name: their services are parts of them."""
    found: dict[int, tuple[str, object]] = {}
    for name, value in vars(module).items():
        if isinstance(value, App):
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def _services(module: ModuleType) -> dict[str, object]:
    """Find the services and the handler classes of a module, each once, under its first name."""
    found: dict[int, tuple[str, object]] = {}
    for name, value in vars(module).items():
        own_handler = getattr(value, "__module__", None) == module.__name__ and (
            is_foreign(value) or (isinstance(value, type) and issubclass(value, Handler))
        )
        if isinstance(value, Service) or own_handler:
            found.setdefault(id(value), (name, value))
    return dict(found.values())


def _handlers(module: ModuleType) -> Iterator[str]:
    """Name what could be meant: services and handler classes first, then the module's own public functions."""
    yield from _applications(module)
    yield from _services(module)
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
            yield name


# -- what went wrong in the user's code -------------------------------------------------------------------------------


def _explain(error: BaseException, source: str, failed: str = "cannot import") -> ApplicationError:
    """Say what an import, or a call, failed with: the last line first, then the user's own frames, innermost first."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return ApplicationError(_explain_syntax(error))
    if isinstance(error, SystemExit):
        when = " while it is imported" if failed == "cannot import" else ""
        what = f"it exits{when} (SystemExit: {error.code})"
    elif isinstance(error, PenstockError):  # a decorator of ours said no
        what = str(error)
    else:
        what = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    frames = list(_user_frames(error.__traceback__))
    lines = [f"{failed} {source}: {what}"]
    lines += [f"    {shown(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line}" for frame in reversed(frames)]
    if len(lines) > MAX_FRAMES + 1:
        lines[MAX_FRAMES + 1 :] = [f"    … {len(lines) - MAX_FRAMES - 1} more; --traceback shows them"]
    return ApplicationError("\n".join(lines))


def _explain_syntax(error: SyntaxError) -> str:
    place = ":".join(
        str(part) for part in (shown(error.filename or "?"), error.lineno, error.offset) if part is not None
    )
    text = (error.text or "").rstrip("\n").expandtabs(1)
    stripped = text.lstrip()
    lines = [f"{place}: {error.msg}"]
    if stripped and error.offset is not None:
        column = max(0, error.offset - 1 - (len(text) - len(stripped)))
        end = error.end_offset if error.end_lineno == error.lineno and error.end_offset is not None else 0
        lines += [f"    {stripped}", "    " + " " * column + "^" * max(1, end - error.offset)]
    return "\n".join(lines)


def _user_frames(trace: TracebackType | None) -> Iterable[traceback.FrameSummary]:
    """Leave out the import system, ourselves, the standard library and what is installed."""
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith("<frozen ") and not _is_ours(frame.filename)
    ]
    paths = sysconfig.get_paths()
    foreign = tuple(paths[key] + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib"))
    return [frame for frame in frames if not frame.filename.startswith(foreign)] or frames[-1:]


def _is_ours(filename: str) -> bool:
    return filename.startswith(str(Path(__file__).parents[1]) + os.sep)
