"""The documentation is run: every command and every listing, and what they print is what the page shows.

A ``console`` block is a terminal: a line that begins with ``$`` is a command, what follows is what it prints; a line
that is ``…`` stands for any lines. A command that ends in ``&`` is a server: it is waited for until it says that it
serves, and stopped by SIGTERM at the end of the page. A block in any other language whose first line is a comment with
the name of a file is that file, in the directory where the page's commands run; all other ``python`` blocks together
are a program that has to run without a word. Ports are moved to free ones.

``<!-- needs: node, fastapi -->`` names programs, modules or files: where one is missing, what follows up to the next
heading is not run, and the test says that it was skipped.
"""

import importlib.util
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

import penstock

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "recipes").glob("*.md"))]
# What a page cannot have run inside its own tests.
NOT_RUN = ("make ", "git ", "pip ", "pipx ", "uvx ", "journalctl ", "systemctl ", "sudo ", "uvicorn ", "docker ")
PROGRAMS = f"{os.environ['PATH']}:/usr/sbin"
SERVES = "(Press CTRL+C to quit)"
PATIENCE_S = 30


def blocks(page, language):
    """Yield (line number, text) for each fenced block of one language."""
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield page[: match.start()].count("\n") + 1, match[1]


def files(page):
    """Yield (name, text) for each block that is a file: ``# name.py``, ``// name.js``, ``/* name.c */``."""
    for match in re.finditer(
        r"^```(\w+)\n(?:#|//|/\*) ([\w/-]+\.\w+|Dockerfile)\b.*\n(?s:.*?)^```$", page, re.MULTILINE
    ):
        yield match[2], match[0].partition("\n")[2].removesuffix("```")


def missing(need):
    """Say whether a program, a module or a file is not there."""
    if need.startswith("/"):
        return not Path(need).exists()
    return shutil.which(need, path=PROGRAMS) is None and importlib.util.find_spec(need) is None


def what_can_run(page):
    """Return the page without what cannot run here, its lines where they were, and what is missing."""
    lacking = []

    def kept(match):
        found = [need for need in match[1].split(", ") if missing(need)]
        lacking.extend(found)
        return "\n" * match[0].count("\n") if found else match[0]

    page = re.sub(r"^<!-- needs: (.*) -->$(?s:.*?)(?=^##|\Z)", kept, page, flags=re.MULTILINE)
    return page, lacking


def commands(block):
    """Yield (command, lines it prints)."""
    command, output = None, []
    for line in block.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, output
            command, output = line[2:], []
        elif command is not None and command.endswith("\\"):
            command = command[:-1] + line.strip()
        else:
            output.append(line)
    if command is not None:
        yield command, output


def matches(expected, actual):
    """Say whether the lines are the same, ``…`` standing for any lines."""
    if not expected:
        return not actual
    if expected[0] == "…":
        return any(matches(expected[1:], actual[start:]) for start in range(len(actual) + 1))
    if not actual:
        return False
    pattern = "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", expected[0]))
    return re.fullmatch(pattern, actual[0]) is not None and matches(expected[1:], actual[1:])


class Terminal:
    """Runs one page's commands in one directory."""

    def __init__(self, directory, reserve):
        self.directory = directory
        self.reserve = reserve
        self.servers = []
        self.ports = {}
        scripts = sysconfig.get_path("scripts")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "PYTHONDONT"))},
            "PATH": f"{scripts}:{Path(sys.executable).parent}:{PROGRAMS}",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }

    def moved(self, text):
        """Replace the ports a page names by free ones, the same for the whole page."""

        def free(match):
            port = match[0]
            if port not in self.ports:
                self.ports[port] = str(self.reserve())
            return self.ports[port]

        # In a page's unit file the program has to be where the file says.
        text = text.replace("/opt/hello/bin/", f"{sysconfig.get_path('scripts')}/")
        return re.sub(r"(?<=:)(9\d\d\d)\b|(?<=port )(9\d\d\d)\b|(?<=port=)(9\d\d\d)\b|(?<=-p )(9\d\d\d)\b", free, text)

    def run(self, command):
        """Run a command; return the lines it printed on either stream."""
        command = self.moved(command)
        if command.endswith("&"):
            return self.serve(command[:-1].strip())
        # Not a pipe: a daemon that a command leaves behind would hold it open.
        with tempfile.TemporaryFile("w+") as printed:
            subprocess.run(
                ["bash", "-c", command],
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE_S,
            )
            printed.seek(0)
            return printed.read().splitlines()

    def serve(self, command):
        """Start a server; return what it printed until it served."""
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.servers.append(server)
        lines = []
        for line in server.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == SERVES:
                return lines
        pytest.fail(f"{command} ended: {lines}")

    def close(self):
        """Stop the servers, each of which has to end as it should."""
        statuses = []
        for server in self.servers:
            server.send_signal(signal.SIGTERM)
            statuses.append(server.wait(PATIENCE_S))
            server.stdout.close()
        return statuses


@pytest.fixture
def terminal(tmp_path, reserve):
    """A terminal in an empty directory."""
    terminal = Terminal(tmp_path, reserve)
    yield terminal
    for server in terminal.servers:
        if server.poll() is None:
            server.kill()
            server.wait()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_shows_is_what_happens(path, terminal):
    """Every listing runs, every command prints what the page says it prints."""
    page, lacking = what_can_run(path.read_text())
    (terminal.directory / "examples").symlink_to(ROOT / "examples")
    for name, text in files(page):
        (terminal.directory / name).write_text(terminal.moved(text))
    listing = "".join(
        terminal.moved(block) + "\n" for _, block in blocks(page, "python") if not re.match(r"# [\w/]+\.py\n", block)
    )
    if listing:
        (terminal.directory / "listing.py").write_text(listing)

        assert [] == terminal.run(f"{sys.executable} -W error listing.py")
    for line, block in blocks(page, "console"):
        for command, expected in commands(block):
            if command.startswith(NOT_RUN):
                continue
            actual = terminal.run(command)
            shown = [terminal.moved(text) for text in expected]

            assert matches(shown, actual), (
                f"{path.name}:{line}: $ {command}\n--- shown\n"
                + "\n".join(shown)
                + "\n--- printed\n"
                + "\n".join(actual)
            )

    assert [0] * len(terminal.servers) == terminal.close()
    if lacking:
        pytest.skip(f"what needs {', '.join(lacking)}: not installed")


def test_every_page_is_in_the_menu_of_the_site():
    """A page that no menu names is found by nobody; `make docs` builds the site."""
    menu = re.findall(r"^ +- (?:\w+: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    outside = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}

    assert sorted([*pages, *outside.values()]) == sorted(menu)


def test_the_reference_has_every_public_name():
    """What can be imported from ``penstock`` is described, by itself or in its module."""
    page = (ROOT / "docs" / "reference.md").read_text()
    described = []
    for path in re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE):
        found = pkgutil.resolve_name(path)
        described += vars(found).values() if isinstance(found, ModuleType) else [found]
    names = [name for name in penstock.__all__ if name != "__version__"]

    assert [] == [name for name in names if not any(getattr(penstock, name) is thing for thing in described)]


def test_tables_and_diagrams_are_those_of_the_source():
    """`make docs-tables` would change nothing."""
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "tools" / "docs_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for path, update in tables.PAGES.items():
        page = path.read_text()

        assert update(page) == page, f"{path.name}: run make docs-tables"
