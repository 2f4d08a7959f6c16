"""Which files are watched, and what is told of them."""

import importlib.util
import os
import queue

import pytest

from penstock.cli.dev.watch import Watch, is_source, is_within

MEANS = [
    "polling",
    pytest.param(
        "watchfiles",
        marks=pytest.mark.skipif(importlib.util.find_spec("watchfiles") is None, reason="watchfiles is not installed"),
    ),
]


@pytest.fixture(params=MEANS)
def watched(request, tmp_path):
    """A directory, and a queue of what is told of it."""
    (tmp_path / "app.py").write_text("")
    (tmp_path / "package").mkdir()
    told = queue.Queue()
    watch = Watch([tmp_path], told.put, polls=request.param == "polling")
    watch.start()
    assert request.param == watch.means
    yield tmp_path.resolve(), told
    watch.stop()


def until(told, change, expected):
    """Make a change again and again until it is told of: a watch begins when the system has set it up."""
    for count in range(100):
        change(count)
        try:
            while told.get(timeout=0.6) != expected:
                pass
        except queue.Empty:
            continue
        return
    raise AssertionError(f"{expected} was never told")


def test_a_change_is_told(watched):
    """Of a file that was there, of a new one, and of one below."""
    directory, told = watched
    for name in ("app.py", "new.py", "package/deep.py", "penstock.toml"):
        until(told, lambda count, name=name: write(directory / name, count), [directory / name])


def write(path, count):
    path.write_text(f"# {count}" * (count + 1))


def test_a_file_that_goes_is_a_change(watched):
    """The module cannot be imported any more."""
    directory, told = watched
    until(told, lambda count: write(directory / "app.py", count), [directory / "app.py"])
    (directory / "app.py").unlink()

    assert [directory / "app.py"] == told.get(timeout=20)


def test_what_is_no_source_of_the_program_is_not_told(watched):
    """A log, bytecode, a hidden file, an environment below: a server that writes them would never come to rest."""
    directory, told = watched
    (directory / "env").mkdir()
    (directory / "env" / "pyvenv.cfg").write_text("")
    (directory / "__pycache__").mkdir()
    (directory / ".git").mkdir()
    for name in ("server.log", "__pycache__/app.py", ".git/hook.py", ".hidden.py", "env/module.py"):
        (directory / name).write_text("changed")
    until(told, lambda count: write(directory / "app.py", count), [directory / "app.py"])


@pytest.mark.parametrize(
    ("name", "expected"), [("app.py", True), ("penstock.toml", True), (".app.py", False), ("app.pyc", False)]
)
def test_a_source_is_known_by_its_name(tmp_path, name, expected):
    """Python's and TOML's."""
    assert expected == is_source(tmp_path / name)


def test_directories_that_are_not_the_programs_are_known(tmp_path):
    """At any depth."""
    (tmp_path / "a" / "env").mkdir(parents=True)
    (tmp_path / "a" / "env" / "pyvenv.cfg").write_text("")
    names = ("a", "a/env", "a/env/lib", "a/.git", "node_modules/b", "__pycache__")

    assert [True, False, False, False, False, False] == [is_within(tmp_path / name, tmp_path) for name in names]


def test_a_directory_that_may_not_be_read_is_one_like_any_other(tmp_path, monkeypatch):
    """The data of a database in a container, say: nothing there changes what is served, and nothing fails."""
    stat = os.stat

    def refuse(path, **options):
        if str(path).endswith("pyvenv.cfg"):
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr("os.stat", refuse)

    assert is_within(tmp_path / "data" / "app.py", tmp_path)
