"""Targets: what the user names is found, and what is wrong with it is said in the user's own terms."""

import importlib
import sys

import pytest

from penstock.cli.target import is_target, load_target, module_exists
from penstock.errors import ApplicationError, ConfigurationError

SERVICES = """\
import penstock
from penstock import Handler

@penstock.on_message(codec="netstring")
def shout(message):
    return message.upper()

def plain(message):
    return message

def needs_two_more(a, b, c):
    pass

class Sensor(Handler):
    def on_message(self, conn, message):
        return message

class Wrong(Handler):
    def on_message(self, message):
        return message

class Holder:
    inner = shout

number = 3
instance = Sensor()
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a module into a directory of its own, from where targets are loaded."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        if not name.startswith("penstock"):
            del sys.modules[name]


def refusal(text, directory):
    """Return what loading ``text`` is refused with."""
    with pytest.raises((ApplicationError, ConfigurationError)) as caught:
        load_target(text, directory)
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "name", "codec"),
    [
        ("app:shout", "shout", "netstring"),
        ("app:plain", "plain", "lines"),
        ("app:Sensor", "Sensor", "lines"),
        ("app:Holder.inner", "shout", "netstring"),
        ("app.py:shout", "shout", "netstring"),
        ("./app.py:shout", "shout", "netstring"),
        ("package.inner:shout", "shout", "netstring"),
        ("package/inner.py:shout", "shout", "netstring"),
    ],
)
def test_a_service_a_function_and_a_handler_class_can_be_named(write, tmp_path, target, name, codec):
    """In a module, in a package, or in a file."""
    write("app.py", SERVICES)
    write("package/__init__.py", "")
    write("package/inner.py", SERVICES)
    service = load_target(target, tmp_path)

    assert (name, codec) == (service.name, service.codec.name)


@pytest.mark.parametrize("target", ["app", "app.py"])
def test_a_module_with_one_service_needs_no_name(write, tmp_path, target):
    """Functions beside it do not count, nor a second name for the same service."""
    write(
        "app.py", "import penstock\n@penstock.on_message\ndef one(message): return message\nsame = one\ndef f(): pass\n"
    )

    assert "one" == load_target(target, tmp_path).name


def test_a_module_with_one_handler_class_needs_no_name(write, tmp_path):
    """A class that was imported is not the module's own."""
    write("app.py", "from penstock import Handler\nclass Mine(Handler): pass\n")

    assert "Mine" == load_target("app", tmp_path).name


def test_a_file_sees_the_modules_beside_it(write, tmp_path):
    """As a script does."""
    write("sub/beside.py", "word = b'beside'\n")
    write("sub/app.py", "import beside\ndef f(message): return beside.word\n")

    assert b"beside" == load_target("sub/app.py:f", tmp_path)(b"")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("app:shuot", "app has no shuot; it holds shout, Sensor, Wrong, plain, needs_two_more; did you mean shout?"),
        ("app:shout.inner", "app has no shout.inner; it holds shout, Sensor, Wrong, plain, needs_two_more"),
        ("app", "app holds 3 services: shout, Sensor, Wrong; say which: app:shout"),
        ("app:number", "app:number: expected a Service, a Handler class or a function, got int"),
        ("ap:shout", "no module named ap; looked in {directory} and on Python's path; did you mean app?"),
        ("package.innr:x", "no module named package.innr; looked in {directory} and on Python's path"),
        (
            "app.inner:x",
            "no module named app.inner; looked in {directory} and on Python's path; 'app' is not a package",
        ),
        ("ap.py:x", "no such file: ap.py; looked in {directory}; did you mean app.py?"),
        ("package:x", "package has no x; it holds no service and no handler"),
        ("empty", "empty holds no service; decorate a function with on_message"),
        ("functions", "functions holds no service; say which function: functions:f"),
        ("a-b:x", "'a-b' is not a module name; write a-b.py for a file"),
        ("a b:x", "'a b' is not a module name"),
        (":x", "':x' is not a target: write module:object, module, file.py:object or file.py"),
        ("app:", "'app:' is not a target: write module:object, module, file.py:object or file.py"),
        ("app:x-y", "'app:x-y' is not a target: write module:object, module, file.py:object or file.py"),
        ("codec:f", "cannot import codec: no codec is called 'linse'; did you mean lines?"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(write, tmp_path, target, message):
    """Where was looked, what is there, what may have been meant."""
    write("app.py", SERVICES)
    write("package/__init__.py", "")
    write("empty.py", "")
    write("functions.py", "from os import getcwd\ndef _private(): pass\ndef f(message): pass\n")
    write("a-b.py", "")
    write("codec.py", "import penstock\n@penstock.on_message(codec='linse')\ndef f(message): pass\n")
    problem = refusal(target, tmp_path)

    assert problem.split("\n")[0].startswith(message.format(directory=tmp_path))


@pytest.mark.parametrize("target", ["app:needs_two_more", "app:Wrong", "app:instance"])
def test_a_handler_of_the_wrong_shape_is_refused_in_one_line(write, tmp_path, target):
    """Before anything is served, not on the first message."""
    write("app.py", SERVICES)
    problem = refusal(target, tmp_path)

    assert problem.startswith(f"{target}: ")
    assert "\n" not in problem


def test_an_error_while_importing_shows_the_users_frames_alone(write, tmp_path):
    """The last line first, then the way to it, innermost first; neither the import system nor the standard library."""
    write("app.py", "import helper\n")
    write("helper.py", "import json\ndef parse():\n    return json.loads('{')\nparse()\n")
    lines = refusal("app:f", tmp_path).split("\n")

    assert [
        "cannot import app: json.decoder.JSONDecodeError: "
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "    helper.py:3 in parse: return json.loads('{')",
        "    helper.py:4 in <module>: parse()",
        "    app.py:1 in <module>: import helper",
    ] == lines


@pytest.mark.parametrize("target", ["app:f", "app.py:f"])
def test_a_module_that_the_users_module_misses_is_not_the_users_module(write, tmp_path, target):
    """It was found; what it imports was not."""
    write("app.py", "import does_not_exist\n")

    assert (
        f"cannot import {target[:-2]}: ModuleNotFoundError: No module named 'does_not_exist'\n"
        "    app.py:1 in <module>: import does_not_exist"
    ) == refusal(target, tmp_path)


def test_a_deep_stack_is_cut(write, tmp_path):
    """What matters is where it failed."""
    write("app.py", "def f(n):\n    return 1 // n if n == 0 else f(n - 1)\nf(50)\n")
    lines = refusal("app:f", tmp_path).split("\n")

    assert 10 == len(lines)
    assert "    … 44 more; --traceback shows them" == lines[-1]


def test_a_module_that_exits_is_an_error(write, tmp_path):
    """A server that ends with 0 because it never began is the worst answer."""
    write("app.py", "import sys\nsys.exit(0)\n")

    assert (
        "cannot import app: it exits while it is imported (SystemExit: 0)\n    app.py:2 in <module>: sys.exit(0)"
    ) == refusal("app:f", tmp_path)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("def f(:\n  pass\n", ["app.py:1:7: invalid syntax", "    def f(:", "          ^"]),
        (
            "if True:\n    x = = 1\n",
            ["app.py:2:9: invalid syntax", "    x = = 1", "        ^"],
        ),
        ("x = 'abc\n", ["app.py:1:5: unterminated string literal (detected at line 1)", "    x = 'abc", "        ^"]),
    ],
)
def test_a_syntax_error_is_shown_with_a_caret(write, tmp_path, text, lines):
    """File, line, column, and the place."""
    write("app.py", text)

    assert lines == refusal("app:f", tmp_path).split("\n")
    assert lines == refusal("app.py:f", tmp_path).split("\n")


@pytest.mark.parametrize("data", [b"x = '\xff'\n", b"\0", b"# coding: nonsense\n"])
def test_a_file_that_is_no_text_is_refused_by_name(write, tmp_path, data):
    """Whatever the parser says of it."""
    write("app.py", data)
    problem = refusal("app:f", tmp_path)

    assert "app" in problem
    assert "Traceback" not in problem


def test_a_failed_file_leaves_no_module_behind(write, tmp_path):
    """The next attempt starts from nothing."""
    write("app.py", "1 / 0\n")
    refusal("app.py:f", tmp_path)

    assert "app" not in sys.modules


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a:b", True), ("a.py", True), ("a.b", True), ("dir/a", True), ("echo", False), ("hello", False)],
)
def test_a_word_alone_may_be_a_service_or_a_module(text, expected):
    """Anything else can only be the user's own."""

    assert expected is is_target(text)


def test_a_module_is_looked_for_without_running_it(write, tmp_path):
    """A word alone that is neither service nor module is a mistake in the word."""
    write("app.py", "1 / 0\n")

    assert module_exists("app", tmp_path)
    assert not module_exists("nothing_of_that_name", tmp_path)
    assert not module_exists("not a name", tmp_path)
