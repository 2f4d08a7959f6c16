"""Whether a signal raised an exception, or the code that it came out of."""

import argparse
import functools
import os
import signal
import sys
import time

import pytest

from penstock.core.interrupts import is_interrupt


def caught(function):
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("it raises nothing")


def refuse_arguments():
    argparse.ArgumentParser().parse_args(["-h"])


def raise_of_its_own(kind):
    raise kind


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(raise_of_its_own, KeyboardInterrupt),
        functools.partial(raise_of_its_own, KeyboardInterrupt("twice")),
        functools.partial(raise_of_its_own, SystemExit(3)),
        functools.partial(raise_of_its_own, GeneratorExit),
        functools.partial(raise_of_its_own, ValueError),
        refuse_arguments,
        sys.exit,
    ],
)
def test_what_code_raises_itself_is_its_own(function):
    """SystemExit and KeyboardInterrupt as well as any other exception."""
    assert not is_interrupt(caught(function))


def test_an_exception_that_was_not_raised_is_nobodys():
    assert not is_interrupt(KeyboardInterrupt())


def spin():
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        pass


def wait():
    signal.setitimer(signal.ITIMER_REAL, 0.01)  # SIGALRM is made a Ctrl-C of
    time.sleep(20)


@pytest.fixture
def handler():
    """Install a signal handler for the time of a test."""
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGALRM)]
    yield signal.signal
    for number, handler in before:
        signal.signal(number, handler)


def test_a_ctrl_c_between_two_instructions_is_a_signals(handler):
    handler(signal.SIGINT, signal.default_int_handler)

    assert is_interrupt(caught(spin))


def test_a_ctrl_c_in_a_system_call_is_a_signals(handler):
    handler(signal.SIGINT, signal.default_int_handler)
    handler(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))

    assert is_interrupt(caught(wait))


class Exiting:
    def __call__(self, *_):
        sys.exit(4)

    def method(self, *_):
        sys.exit(4)


@pytest.mark.parametrize(
    "function",
    [
        lambda *_: sys.exit(4),
        functools.partial(lambda _how, *_: sys.exit(4), "partial"),
        Exiting(),
        Exiting().method,
        functools.partial(functools.partial(Exiting().method), "twice"),
    ],
)
def test_what_a_signal_handler_raises_is_a_signals(handler, function):
    handler(signal.SIGINT, function)

    assert is_interrupt(caught(spin))
