"""What can be told of a handler before it is called: how it may be called, whether it is ``async def``, its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from ..errors import ApplicationError
from ..suggest import did_you_mean, is_near

# The callbacks of a Handler, and with how many arguments each is called.
_CALLBACKS: Final = {
    "on_connect": 1,
    "on_message": 2,
    "on_bad_message": 2,
    "on_idle": 1,
    "on_timeout": 2,
    "on_protocol_error": 2,
    "on_eof": 1,
    "on_drain": 1,
    "on_handover": 1,
    "on_takeover": 2,
    "on_close": 2,
}


def check_callbacks(kind: type, base: type) -> bool:
    """Check the callbacks of a Handler class.

    Args:
        kind: The class.
        base: ``Handler`` itself, whose callbacks do nothing.

    Returns:
        Whether one of them is ``async def``.

    Raises:
        ApplicationError: One cannot be called as it is going to be, or has a misspelt name and never would be.
    """
    asynchronous = False
    for method, arguments in _CALLBACKS.items():
        function = getattr(kind, method)
        positional(
            function,
            f"{kind.__name__}.{method} is called as {method}{_parameters(getattr(base, method))}",
            arguments + 1,
        )
        asynchronous = asynchronous or is_async(function)
    _refuse_misspelt(kind, base)
    return asynchronous


def _refuse_misspelt(kind: type, base: type) -> None:
    """Refuse a class that has something near a callback and not that callback: nothing would ever call it.

    Raises:
        ApplicationError: It has.
    """
    missing = [name for name in _CALLBACKS if getattr(kind, name) is getattr(base, name)]
    own = {name for each in kind.__mro__ if each not in base.__mro__ for name in vars(each)}
    for name in sorted(own):
        if name in _CALLBACKS:
            continue  # near another one, perhaps, and meant all the same
        if callable(getattr(kind, name)) and not name.startswith("_") and is_near(name, missing):
            hint = did_you_mean(name, missing)
            raise ApplicationError(
                f"{kind.__name__}.{name} is never called{hint} (the callbacks are {', '.join(_CALLBACKS)})"
            )


def positional(function: Callable[..., Any], expected: str, *counts: int) -> int:
    """Return with how many positional arguments the function can be called, the least of ``counts`` that fits.

    Raises:
        ApplicationError: None of them does; the message ends with the signature it has.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not say: take the caller's word
        return counts[0]
    for count in counts:
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count
    raise ApplicationError(f"{expected}; {name_of(function)}{signature} cannot be called like that")


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it makes a coroutine, as far as can be told."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def wants_connection(function: Callable[..., Any]) -> bool:
    """Whether its only parameter is a connection, by its name or its annotation."""
    try:
        parameters = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            and parameter.default is parameter.empty
        ]
    except (TypeError, ValueError):
        return False
    if len(parameters) != 1:
        return False
    (parameter,) = parameters
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__qualname__", str(annotation))
    return parameter.name in ("conn", "connection") or "Connection" in text


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function; of another callable that of its class."""
    return getattr(function, "__name__", None) or type(function).__name__


def _parameters(function: Callable[..., Any]) -> str:
    return "(" + ", ".join(inspect.signature(function).parameters) + ")"


def summary_of(function: Callable[..., Any]) -> str:
    """Return the first line of its docstring."""
    documentation = inspect.getdoc(function) or ""
    return documentation.partition("\n")[0]
