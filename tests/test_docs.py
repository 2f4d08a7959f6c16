"""The documentation is run: every command and every listing, and what they print is what the page shows.

A ``console`` block is a terminal: a line that begins with ``$`` is a command, what follows is what it prints; a line
that is ``…`` stands for any lines. A command that ends in ``&`` is a server: it is waited for until it says that it
serves, and stopped by SIGTERM at the end of the page. A block in any other language whose first line is a comment with
the name of a file is that file, in the directory where the page's commands run; all other ``python`` blocks together
are a program that has to run without a word. Ports are moved to free ones.

``<!-- needs: node, fastapi -->`` names programs, modules or files: where one is missing, what follows up to the next
heading is not run, and the test says that it was skipped.
"""

import contextlib
import importlib.util
import os
import pkgutil
import re
import shlex
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

from .starter import OF_PYTHON, PROGRAM, clean_environment, finish

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "recipes").glob("*.md"))]
# What a page cannot have run inside its own tests.
NOT_RUN = ("make ", "git ", "pip ", "pipx ", "uvx ", "journalctl ", "systemctl ", "sudo ", "uvicorn ", "docker ")
PROGRAMS = f"{os.environ['PATH']}:/usr/sbin"
# Pages on which the system's name of the program counts, or processes that it starts again from its own command line.
BEGIN_ANEW = ("cli.md", "faq.md", "handover.md", "workers.md")
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


def stages(command):
    """Split a command before a last stage that is ``penstock`` without anything for a shell: what feeds it, its words.

    None where a shell has to run all of it.
    """
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    feeding, _, last = command.rpartition(" | ")
    words = shlex.split(last)
    if words[0] != "penstock" or re.search(r"[$`*?~{}\\]", re.sub(r"'[^']*'", "", last)):
        return None
    if any(set(word) <= set("();<>|&") for word in words) or list(lexer)[-len(words) :] != words:
        return None
    return feeding, words[1:]


class Terminal:
    """Runs one page's commands in one directory. What is ``penstock`` alone need not import it again."""

    def __init__(self, directory, reserve, popen, *, begins_anew):
        self.begins_anew = begins_anew
        self.directory = directory
        self.reserve = reserve
        self.popen = popen
        self.servers = []
        self.ports = {}
        scripts = sysconfig.get_path("scripts")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "PYTHONDONT"))},
            "PATH": f"{scripts}:{Path(sys.executable).parent}:{PROGRAMS}",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        # What Python reads of it is what `starter.Starter` has read.
        clean = clean_environment()
        self.forked = {name: value for name, value in self.environ.items() if not name.startswith(OF_PYTHON)}
        self.forked |= {name: value for name, value in clean.items() if name.startswith(OF_PYTHON)}

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
            options = {"cwd": self.directory, "stdout": printed, "stderr": subprocess.STDOUT}
            if (found := self.stages(command)) is None:
                subprocess.run(
                    ["bash", "-c", command],
                    env=self.environ,
                    stdin=subprocess.DEVNULL,
                    timeout=PATIENCE_S,
                    **options,
                )
            else:
                self.fork(*found, options)
            printed.seek(0)
            return printed.read().splitlines()

    def stages(self, command):
        """As `stages`; None as well where every process has to begin as it does for a user."""
        return None if self.begins_anew else stages(command)

    def fork(self, feeding, words, options):
        """Run ``penstock`` to its end, with what another command writes as its input, if there is one."""
        with contextlib.ExitStack() as stack:
            given = subprocess.DEVNULL
            if feeding:
                command = ["bash", "-c", feeding]
                feeder = subprocess.Popen(
                    command, cwd=self.directory, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
                )
                given = stack.enter_context(feeder).stdout
            finish(self.popen([*PROGRAM, *words], env=self.forked, stdin=given, **options), timeout=PATIENCE_S)

    def serve(self, command):
        """Start a server; return what it printed until it served."""
        found = self.stages(command)
        start, words, environ = (
            (subprocess.Popen, ["bash", "-c", f"exec {command}"], self.environ)
            if found is None
            else (self.popen, [*PROGRAM, *found[1]], self.forked)
        )
        server = start(
            words,
            cwd=self.directory,
            env=environ,
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
def terminal(tmp_path, reserve, popen, request):
    """A terminal in an empty directory."""
    begins_anew = request.node.callspec.params["path"].name in BEGIN_ANEW
    terminal = Terminal(tmp_path, reserve, popen, begins_anew=begins_anew)
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
