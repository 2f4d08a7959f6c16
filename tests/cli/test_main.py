"""The program as a whole: help, versions, what it imports, and what becomes of its descriptors."""

import json
import os
import subprocess
import sys

import pytest

from penstock import __version__
from penstock.cli.main import BROKEN_PIPE, main

# What Python and the program do before the first line of a command is what these tests are about.
pytestmark = pytest.mark.from_nothing

COMMANDS = ("serve", "dev", "check", "connect", "send", "probe", "bench", "services", "ctl", "completion")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_the_commands(penstock, option):
    """On standard output, with status 0."""
    done = penstock(option)

    assert (0, "") == (done.returncode, done.stderr)
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_without_a_command_the_help_is_an_error(penstock):
    """Nothing was done, and a script must see that."""
    done = penstock()

    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("Usage: penstock ")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "ctl"])
def test_every_command_has_help(penstock, command):
    """Of its own, with its own options."""
    done = penstock(command, "-h")

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith(f"Usage: penstock {command} ")
    assert "--traceback" in done.stdout


def test_a_group_of_commands_lists_them(penstock):
    """With the command to which a mistake in one of them belongs."""
    done = penstock("ctl", "--help")
    assert (0, True) == (done.returncode, "\n  connections " in done.stdout)
    done = penstock("ctl", "status", "--colour")

    assert (2, True) == (done.returncode, "penstock ctl status --help shows what is allowed" in done.stderr)


def test_help_shows_every_option_with_its_default(penstock):
    """From the same description as the configuration."""
    from penstock.config import options

    shown = " ".join(penstock("serve", "--help", env={"COLUMNS": "100"}).stdout.split())

    assert all(f" {option.flag}" in shown for option in options())
    assert "[default: 5m]" in shown
    assert "PENSTOCK_TIMEOUT_IDLE" in shown


@pytest.mark.parametrize("columns", ["60", "80", "100"])
@pytest.mark.parametrize(
    "arguments", [["--help"], ["serve", "--help"], ["bench", "--help"], ["services"]], ids=" ".join
)
def test_words_are_not_broken_at_their_hyphens(penstock, arguments, columns):
    """An option, or the option of a codec, can be found and copied."""
    lines = penstock(*arguments, env={"COLUMNS": columns}).stdout.splitlines()

    assert [] == [line for line in lines if line.endswith("-")]
    assert not any("\u2011" in line for line in lines)


def test_the_version_is_the_packages(penstock):
    """One line."""

    assert f"penstock {__version__}\n" == penstock("--version").stdout


def test_the_console_script_is_the_module(environ, directory):
    """``penstock`` and ``python -m penstock`` are one program."""
    script = os.path.join(os.path.dirname(sys.executable), "penstock")
    if not os.path.exists(script):
        pytest.skip("the package is not installed with its script")
    done = subprocess.run([script, "--version"], env=environ, cwd=directory, capture_output=True, text=True)

    assert (0, f"penstock {__version__}\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["srve"]])
def test_help_imports_nothing_heavy(environ, directory, arguments):
    """What is slow to import is imported by the command that needs it, and help stays instant."""
    program = (
        "import sys\nfrom penstock.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*sorted(sys.modules), file=open('modules', 'w'))\n"
    )
    subprocess.run([sys.executable, "-c", program, *arguments], env=environ, cwd=directory, capture_output=True)
    loaded = set((directory / "modules").read_text().split())
    heavy = {"asyncio", "msgspec", "ssl", "uvloop", "json", "tomllib", "logging", "penstock.codecs", "penstock.core"}
    if arguments != ["srve"]:  # the nearest word costs something
        heavy |= {"penstock.config", "socket"}

    assert "click" in loaded
    assert set() == heavy & loaded


def test_a_traceback_is_shown_when_it_is_asked_for(penstock):
    """Wherever the option stands."""
    plain = penstock("serve", "nothing:x")
    full = penstock("serve", "nothing:x", "--traceback")

    assert "Traceback" not in plain.stderr
    assert full.stderr.startswith("Traceback (most recent call last):")
    assert full.stderr.endswith(plain.stderr)
    assert plain.returncode == full.returncode == 3


def test_output_that_nobody_reads_ends_the_program_quietly(environ, directory):
    """As SIGPIPE would have, without a traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "services"],
        env=environ,
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()

    assert (BROKEN_PIPE, b"") == (process.wait(20), told)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_no_trouble(environ, directory, closed):
    """Each is replaced by /dev/null, so that no socket takes its number."""
    command = f'"{sys.executable}" -m penstock check app:echo {closed}'
    done = subprocess.run(["sh", "-c", command], env=environ, cwd=directory, capture_output=True, text=True)

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["serve", "nothing:x"], ["srve"], ["serve", "app:echo", "--backlog", "0"]])
def test_an_error_that_cannot_be_written_keeps_its_status(environ, directory, arguments):
    """Standard error on a full disk."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "penstock", *arguments], env=environ, cwd=directory, stderr=full)

    assert done.returncode == (3 if "nothing:x" in arguments else 2)


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONASYNCIODEBUG": "1"},
        {"PYTHONOPTIMIZE": "1"},
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONHASHSEED": "0"},
        {"PYTHONDEVMODE": "1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"HOME": "/nonexistent"},
        {"COLUMNS": "20", "TERM": "dumb", "NO_COLOR": "1"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "app:echo"],
        pytest.param(["services"], marks=pytest.mark.combination),
        pytest.param(["serve", "--help"], marks=pytest.mark.combination),
    ],
    ids=" ".join,
)
def test_the_environment_does_not_matter(penstock, env, arguments):
    """Debug mode, no assertions, warnings as errors, the C locale, no home, a narrow terminal: rows 34, 53 to 55."""
    done = penstock(*arguments, env=env)

    assert (0, "") == (done.returncode, done.stderr)
    assert "\x1b" not in done.stdout


def test_arguments_that_are_no_text_are_no_crash(environ, directory):
    """Row 54: names of files are bytes."""
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"penstock", b"serve", b"caf\xe9.py:x"],
        env=environ | {"LC_ALL": "C"},
        cwd=directory,
        capture_output=True,
    )

    assert 3 == done.returncode
    assert done.stderr.startswith(b"penstock: error: no such file: caf\\udce9.py; looked in ")


def test_a_read_only_directory_is_good_enough(penstock, directory):
    """Row 55: nothing is written where the program is started."""
    directory.chmod(0o555)
    done = penstock("check", "app:echo", env={"PYTHONDONTWRITEBYTECODE": "1"})
    directory.chmod(0o755)

    assert (0, "ok: echo over raw on tcp://127.0.0.1:9000\n") == (done.returncode, done.stdout)


def test_an_error_that_nobody_foresaw_is_one_line_too(monkeypatch, capsys):
    """With where it happened, and how to see more."""
    monkeypatch.setattr("penstock.cli.completion.INSTALL", None)

    assert 1 == main(["completion", "bash"])
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("penstock: error: unexpected AttributeError: ")
    assert told[1].startswith("  at ")
    assert told[1].endswith("; --traceback shows all of it")


def test_services_and_codecs_are_listed(penstock):
    """For people and for programs, from the same description as everything else."""
    plain = penstock("services").stdout
    data = json.loads(penstock("services", "--json").stdout)

    assert "echo" in [service["name"] for service in data["services"]]
    assert ["--prefix"] == [
        option["name"] for service in data["services"] for option in service["options"] if service["name"] == "echo"
    ]
    assert "lines" in [codec["name"] for codec in data["codecs"]]
    assert all(f"\n  {each['name']} " in plain for kind in data.values() for each in kind)


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete "), ("zsh", "#compdef penstock"), ("fish", "complete ")]
)
def test_a_completion_script_is_printed(penstock, shell, word):
    """For each shell its own."""
    done = penstock("completion", shell)

    assert (0, "") == (done.returncode, done.stderr)
    assert word in done.stdout
    assert "_PENSTOCK_COMPLETE" in done.stdout
