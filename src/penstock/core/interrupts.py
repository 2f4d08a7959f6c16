"""Whose an exception is: of the handler it comes out of, or of the process, which a signal has interrupted in there."""

from __future__ import annotations

import dis
import functools
import signal
from collections.abc import Iterator
from types import CodeType, TracebackType
from typing import Any

_RAISING = frozenset({dis.opmap["RAISE_VARARGS"], dis.opmap["RERAISE"]})


def is_interrupt(error: BaseException) -> bool:
    """Say whether a signal raised it, whatever was being done at the time: a Ctrl-C, a signal handler that exits.

    An exception that is an `Exception` never is one, and neither is what a handler raises itself, SystemExit and
    KeyboardInterrupt included: it is a failure of that handler. The GeneratorExit that ends a coroutine from outside
    is not the handler's either.
    """
    trace = error.__traceback__
    if isinstance(error, Exception) or trace is None:
        return False
    handlers = set(_signal_handlers())
    while trace.tb_frame.f_code not in handlers:
        if trace.tb_next is None:
            break
        trace = trace.tb_next
    else:
        return True
    if isinstance(error, KeyboardInterrupt):
        # Python's own handler of SIGINT has no frame. It raises between any two instructions, or in a function in C
        # that looks for signals; code that raises is at an instruction that does so.
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler and not _raises(trace)
    return isinstance(error, GeneratorExit) and not _raises(trace)


def _raises(trace: TracebackType) -> bool:
    """Say whether the instruction at which an exception came up is one that raises."""
    at = trace.tb_lasti
    return at >= 0 and trace.tb_frame.f_code.co_code[at] in _RAISING


def _signal_handlers() -> Iterator[CodeType]:
    """The code of every signal handler that is written in Python."""
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        if not callable(handler):
            continue
        function = getattr(handler, "__func__", handler)
        if not hasattr(function, "__code__"):
            function = vars(type(handler)).get("__call__")  # of an object that is called
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            yield code
