"""Where the user's code is written."""

import functools
import inspect
import os

import pytest

from penstock.core.places import place_of, shown


def decorated(function):
    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments)

    return call


@decorated
@decorated
def function(message):
    return message


class Called:
    def __call__(self, message):
        return message

    def method(self, message):
        return message


def line_of(text):
    source = inspect.getsource(inspect.getmodule(Called))
    return next(number for number, line in enumerate(source.splitlines(), 1) if line.strip().startswith(text))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (function, "def function("),
        (functools.partial(function, b"x"), "def function("),
        (Called(), "def __call__("),
        (Called().method, "def method("),
        (Called.method, "def method("),
    ],
)
def test_it_is_the_line_of_the_def(target, text):
    """Not that of a decorator, a partial or a wrapper."""
    path, _, line = place_of(target).rpartition(":")

    assert line_of(text) == int(line)
    assert os.path.samefile(path, __file__)


def test_what_is_written_in_no_file_has_no_place():
    """A builtin."""
    assert "" == place_of(len)


def test_a_path_is_relative_where_that_is_shorter(tmp_path, monkeypatch):
    """As the user sees it."""
    monkeypatch.chdir(tmp_path)

    assert "hello.py" == shown(str(tmp_path / "hello.py"))
    assert "/x" == shown("/x")
