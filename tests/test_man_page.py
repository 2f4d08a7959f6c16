"""The manual page: made from the program's help, and what ``man`` makes of it."""

import importlib.util
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "penstock.1"


def rendered(**env):
    """What a reader sees, as one line; the page must be without warnings."""
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man or groff is not installed")
    done = subprocess.run(
        ["man", "--warnings", "-l", str(PAGE)],
        env={"PATH": "/usr/bin:/bin", "MANPAGER": "cat", "MANWIDTH": "400"} | env,
        capture_output=True,
        timeout=50,
    )
    assert (0, b"") == (done.returncode, done.stderr)
    return " ".join(done.stdout.decode().split())


def test_the_page_is_what_the_help_says():
    """`make docs-tables` writes it."""
    spec = importlib.util.spec_from_file_location("man_page", ROOT / "tools" / "man_page.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    assert tool.page() == PAGE.read_text()


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_man_shows_it_without_a_warning(locale):
    """Commands and options as they are typed, in any locale."""
    text = rendered(LC_ALL=locale)

    assert "penstock serve [OPTIONS] SERVICE Serve a classic service or your own until Ctrl-C or SIGTERM." in text
    assert "--timeout-idle DURATION Close a connection after this long without traffic. [default: 5m]" in text
    assert "-h, --help Show this message and exit." in text
    assert 'eval "$(penstock completion bash)" in ~/.bashrc' in text


def test_the_wheel_installs_it_where_man_looks():
    """In the prefix of the environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert {"share/man/man1": ["docs/penstock.1"]} == project["tool"]["setuptools"]["data-files"]
