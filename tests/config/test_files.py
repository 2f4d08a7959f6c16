"""The configuration file: found, read, or refused in one line that says where."""

import os

import pytest

from penstock.config.files import MAX_FILE_BYTES, find, read
from penstock.errors import ConfigurationError


def refusal(make):
    """Return the error that ``make`` ends with, as one text."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    return str(caught.value)


def test_without_a_file_there_is_none(tmp_path):
    """Nothing has to exist."""

    assert find(tmp_path) is None


def test_the_file_of_the_current_directory_is_found(tmp_path):
    """Its keys are known with their lines."""
    (tmp_path / "penstock.toml").write_text('# ours\nbacklog = 5\n\nbind = [\n  "a",\n]\n"once" = true\n')
    document = find(tmp_path)

    assert {"backlog": 5, "bind": ["a"], "once": True} == document.table
    assert ("penstock.toml:2", "penstock.toml:4", "penstock.toml:7") == tuple(
        map(document.where, ("backlog", "bind", "once"))
    )


def test_the_projects_file_is_read_when_it_has_our_table(tmp_path):
    """``[tool.penstock]`` of ``pyproject.toml``, and no other table of it."""
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nbacklog = 1\n[tool.penstock]\nbacklog = 5\n[tool.other]\nx = 1\n"
    )
    document = find(tmp_path)

    assert {"backlog": 5} == document.table
    assert "pyproject.toml:4" == document.where("backlog")


@pytest.mark.parametrize("text", ["[project]\n", "[tool.other]\n", "this is [not TOML"])
def test_a_projects_file_that_is_not_ours_is_left_alone(tmp_path, text):
    """Even a broken one: it is none of our business."""
    (tmp_path / "pyproject.toml").write_text(text)

    assert find(tmp_path) is None


def test_our_file_comes_before_the_projects(tmp_path):
    """There is one file, never two."""
    (tmp_path / "penstock.toml").write_text("backlog = 1\n")
    (tmp_path / "pyproject.toml").write_text("[tool.penstock]\nbacklog = 5\n")

    assert {"backlog": 1} == find(tmp_path).table


def stand_in(at):
    """An error as CPython 3.14 raises it, about the character at ``at``."""
    error = ValueError("No good (in other words)")
    error.msg, error.doc, error.pos = "No good", "a = 1\nb = ?\n", at
    return error


@pytest.mark.parametrize(
    "data",
    [b"", b"\xef\xbb\xbfbacklog = 5\n", b"backlog = 5\r\n# more\r\n", b"backlog = 5"],
    ids=["empty", "byte order mark", "CRLF", "no newline"],
)
def test_what_editors_do_to_a_file_does_not_matter(tmp_path, data):
    """An empty file, a byte order mark, Windows line ends, a missing newline: all are fine."""
    (tmp_path / "penstock.toml").write_bytes(data)

    assert find(tmp_path).table in ({}, {"backlog": 5})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"backlog = \n", "penstock.toml:1:11: invalid value\n    backlog = "),
        (b"a = 1\nbind = [1,\n", "penstock.toml:2:11: invalid value before the end of the file\n    bind = [1,"),
        (b"a = 1\na = 2\n", "penstock.toml:2:6: cannot overwrite a value\n    a = 2"),
        (b"x = '\x1b[31m'\n", "penstock.toml:1:6: found invalid character '\\x1b'\n    x = ' [31m'"),
        (b"\n# caf\xe9\n", "penstock.toml:2: it is not UTF-8 text: save it as UTF-8"),
        ("backlog = 5\n".encode("utf-16"), "penstock.toml: it is UTF-16 text: save it as UTF-8"),
        (b"x=" + b"[" * 100_000, "penstock.toml: it is nested too deep"),
        (b"#" * (MAX_FILE_BYTES + 1), "penstock.toml: it is larger than 1MiB, too large for a configuration file"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_its_line(tmp_path, data, message):
    """File, line, column, and the line itself, free of control characters."""
    (tmp_path / "penstock.toml").write_bytes(data)

    assert message == refusal(lambda: find(tmp_path))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no good"), "penstock.toml: no good"),
        (stand_in(10), "penstock.toml:2:5: no good\n    b = ?"),
        (stand_in(12), "penstock.toml:2:6: no good before the end of the file\n    b = ?"),
    ],
    ids=["without a place", "with a place", "at the end"],
)
def test_the_place_of_a_mistake_does_not_hang_on_the_words_of_the_parser(tmp_path, monkeypatch, error, message):
    """CPython 3.14 gives it as attributes, another release may give none: then none is named."""
    (tmp_path / "penstock.toml").write_bytes(b"a = 1\nb = ?\r\n")

    def refuse(_text):
        raise error

    monkeypatch.setattr("tomllib.loads", refuse)

    assert message == refusal(lambda: find(tmp_path))


def test_a_number_of_thousands_of_digits_is_a_mistake_like_any_other(tmp_path):
    """Python's own limit raises a ValueError that is no TOMLDecodeError."""
    (tmp_path / "penstock.toml").write_text(f"backlog = {'1' * 5000}\n")

    assert "4300 digits" in refusal(lambda: find(tmp_path))


def test_a_huge_file_is_refused_without_being_read(tmp_path):
    """A gigabyte costs a megabyte."""
    path = tmp_path / "penstock.toml"
    with path.open("wb") as file:
        file.truncate(2**30)

    assert refusal(lambda: read(path)) == f"{path}: it is larger than 1MiB, too large for a configuration file"


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    """Missing, a directory, or a name that no file can have."""
    missing = tmp_path / "missing.toml"

    assert f"{missing}: cannot read it: no such file or directory" == refusal(lambda: read(missing))
    assert f"{tmp_path}: cannot read it: is a directory" == refusal(lambda: read(tmp_path))
    assert f"{'x' * 300}: cannot read it: file name too long" == refusal(lambda: read(type(tmp_path)("x" * 300)))
    assert "'a\\x00b': it is not a file name" == refusal(lambda: read(type(tmp_path)("a\0b")))


def test_a_file_without_permission_is_named(tmp_path):
    """The reason is the system's."""
    path = tmp_path / "penstock.toml"
    path.touch(mode=0o000)
    user = os.geteuid()
    if user == 0:  # root may read everything
        os.seteuid(65534)
    try:
        problem = refusal(lambda: read(path))
    finally:
        os.seteuid(user)

    assert f"{path}: cannot read it: permission denied" == problem


def test_a_file_of_any_name_can_be_read(tmp_path):
    """The name only matters for ``pyproject.toml``."""
    path = tmp_path / "production.conf"
    path.write_text("backlog = 5\n")

    assert {"backlog": 5} == read(path).table
    assert f"{path}:1" == read(path).where("backlog")


def test_a_projects_file_that_is_named_must_have_our_table(tmp_path):
    """The user said that it is ours."""
    path = tmp_path / "pyproject.toml"
    path.write_text("[project]\n")

    assert f"{path}: it has no table [tool.penstock]" == refusal(lambda: read(path))
