"""The documentation is run: every command and every listing, and what they print is what the page shows.

A ``console`` block is a terminal: a line that begins with ``$`` is a command, what follows is what it prints; a line
that is ``…`` stands for any lines. A command that ends in ``&`` is a server: it is waited for until it says that it
serves, and stopped by SIGTERM at the end of the page. A ``python`` block whose first line is ``# name.py`` is that
file, in the directory where the page's commands run; all others together are a program that has to run without a word.
Ports are moved to free ones.
"""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What a page cannot have run inside its own tests.
NOT_RUN = ("make ", "git ", "pip ", "pipx ", "uvx ", "journalctl ", "systemctl ", "sudo ")
SERVES = "(Press CTRL+C to quit)"
PATIENCE_S = 30


def blocks(page, language):
    """Yield (line number, text) for each fenced block of one language."""
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield page[: match.start()].count("\n") + 1, match[1]


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
            **{name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")},
            "PATH": f"{scripts}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }

    def moved(self, text):
        """Replace the ports a page names by free ones, the same for the whole page."""

        def free(match):
            port = match[1]
            if port not in self.ports:
                self.ports[port] = str(self.reserve())
            return f":{self.ports[port]}"

        return re.sub(r":(9\d\d\d)\b", free, text)

    def run(self, command):
        """Run a command; return the lines it printed on either stream."""
        command = self.moved(command)
        if command.endswith("&"):
            return self.serve(command[:-1].strip())
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        return done.stdout.splitlines()

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
    page = path.read_text()
    listing = ""
    for _, block in blocks(page, "python"):
        if name := re.match(r"# ([\w/]+\.py)\n", block):
            (terminal.directory / name[1]).write_text(terminal.moved(block))
        else:
            listing += terminal.moved(block) + "\n"
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


def test_tables_and_diagrams_are_those_of_the_source():
    """`make docs-tables` would change nothing."""
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "tools" / "docs_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for path, update in tables.PAGES.items():
        page = path.read_text()

        assert update(page) == page, f"{path.name}: run make docs-tables"
