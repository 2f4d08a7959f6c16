"""Whatever can be raised by a handler, for tests of law 6."""

import argparse
import asyncio


class UnprintableError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Own(BaseException):
    """No `Exception`."""


def fall(depth=0):
    return fall(depth + 1)


def ask_for_help():
    argparse.ArgumentParser(prog="handler", add_help=True).parse_args(["--no-such-option"])


def throw(kind):
    raise kind


RAISING = {
    "SystemExit": lambda: throw(SystemExit(3)),
    "SystemExit of argparse": ask_for_help,
    "KeyboardInterrupt": lambda: throw(KeyboardInterrupt()),
    "GeneratorExit": lambda: throw(GeneratorExit()),
    "CancelledError": lambda: throw(asyncio.CancelledError("own")),
    "StopIteration": lambda: next(iter(())),
    "StopAsyncIteration": lambda: throw(StopAsyncIteration()),
    "RecursionError": fall,
    "MemoryError": lambda: throw(MemoryError()),
    "UnprintableError": lambda: throw(UnprintableError()),
    "Own": lambda: throw(Own()),
    "TimeoutError": lambda: throw(TimeoutError()),
    "ExceptionGroup": lambda: throw(BaseExceptionGroup("two", [KeyboardInterrupt(), SystemExit()])),
}
# As each is reported.
NAMES = {word: word.partition(" ")[0].replace("ExceptionGroup", "BaseExceptionGroup") for word in RAISING}
PEERS = ("there", "gone", "reset")


def kind_of(error):
    """The name of what was raised: what may not leave a coroutine is the cause of a RuntimeError."""
    return type(error.__cause__ if isinstance(error.__cause__, StopIteration | GeneratorExit) else error).__name__


def act(word):
    if word in RAISING:
        RAISING[word]()
