"""An application on the command line: what is said of which service, and how its life ends."""

import json
import signal
import time
import tomllib

import pytest

from ..starter import PATIENCE_S

FLEET = """\
import asyncio
import os
import penstock

app = penstock.App("fleet")

def tell(word):
    with open("told", "a") as file:
        file.write(word + "\\n")

@app.lifespan
async def database(app):
    tell("opening")
    if os.environ.get("SLOW"):
        try:
            await asyncio.sleep(3600)
        finally:
            tell("given up")
    if os.environ.get("BROKEN"):
        raise OSError("no database")
    app.state.count = 0
    yield
    tell("closed")
    if os.environ.get("BROKEN_END"):
        raise OSError("disk full")

@app.on_message(codec="lines", bind="unix:tracker.sock")
def tracker(conn, message):
    conn.app.state.count += 1

@app.on_message(codec="lines", bind="unix:admin.sock", drain_after="tracker")
def admin(conn, message):
    return b"%d" % conn.app.state.count

def make_app():
    return app

def broken():
    raise ValueError("not today")
"""


MIXED = """\
import penstock
from penstock.adapters import service_of

app = penstock.App("mixed", timeout_message="5s")

async def copy(reader, writer):
    writer.write(await reader.read())

app.add(service_of(copy, kind="streams"), name="stream", bind="unix:stream.sock")

@app.on_message(codec="lines", bind="unix:lines.sock")
def lines(message):
    return message
"""


@pytest.fixture
def fleet(directory):
    """A module with an application."""
    (directory / "fleet.py").write_text(FLEET)
    return directory


def told(directory):
    return (directory / "told").read_text().split("\n")[:-1]


def test_an_application_is_served_with_all_its_services(fleet, serve, penstock):
    """The module alone names it, for its services are parts of it; the ready line has each service's addresses."""
    served = serve("fleet", bind=None)
    sent = penstock("send", "unix:admin.sock", "--codec", "lines", "?")

    assert ["unix:tracker.sock", "unix:admin.sock"] == served.addresses
    assert "0\n" == sent.stdout
    assert 0 == served.stop()
    assert ["opening", "closed"] == told(fleet)


@pytest.mark.parametrize("target", [("fleet:app",), ("--factory", "fleet:make_app")])
def test_one_service_is_configured_by_its_name(fleet, penstock, target):
    """From the command line, the environment and the file, each over the one before it."""
    (fleet / "penstock.toml").write_text('[service.admin]\nbind = "unix:file.sock"\ntimeout_idle = "7s"\n')
    env = {"PENSTOCK_SERVICE_TRACKER_BIND": "unix:env.sock"}
    checked = penstock("check", *target, env=env)
    shown = penstock("serve", *target, "--bind", "admin=unix:flag.sock", "--print-config", env=env).stdout
    _, tracker, admin = shown.split("\n[service.")

    assert "ok: tracker over lines on unix:env.sock\nok: admin over lines on unix:file.sock\n" == checked.stdout
    assert 'bind = ["unix:env.sock"]' in tracker
    assert "# PENSTOCK_SERVICE_TRACKER_BIND" in tracker
    assert 'bind = ["unix:flag.sock"]' in admin
    assert 'timeout_idle = "7s"' in admin
    assert "# penstock.toml:3" in admin


def test_what_is_printed_can_be_read(fleet, penstock):
    """As a file of configuration, to the same values."""
    shown = penstock("serve", "fleet", "--timeout-idle", "admin=7s", "--log-level", "debug", "--print-config").stdout
    (fleet / "other.toml").write_text(shown)
    again = penstock("serve", "fleet", "--config", "other.toml", "--print-config").stdout

    def values(text):
        return [line.partition("#")[0].rstrip() for line in text.splitlines()]

    assert values(shown) == values(again)


def test_what_is_said_of_all_passes_by_a_service_that_cannot_have_it(directory, penstock):
    """From each source; what is printed says so. Said of that service alone it is refused."""
    (directory / "mixed.py").write_text(MIXED)
    (directory / "penstock.toml").write_text('max_message_rate = "2/s"\non_message_rate = "close"\n')
    words = ("serve", "mixed", "--slow-consumer", "drop_oldest", "--print-config")
    shown = penstock(*words, env={"PENSTOCK_MIN_MESSAGE_RATE": "1024"}).stdout
    _, stream, lines = shown.split("\n[service.")
    refused = penstock("serve", "mixed", "--slow-consumer", "stream=drop_oldest")

    for line in ('max_message_rate = "2/s"', 'slow_consumer = "drop_oldest"', 'min_message_rate = "1KiB"'):
        assert line in lines
        assert f"\n{line}" not in stream
    assert 'timeout_message = "5s"' in lines
    assert 'timeout_message = "5s"' not in stream
    assert "cannot have a part of its stream left out" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("fleet", "--bind", "unix:x"), "--bind: an address is one service's: write --bind tracker=ADDRESS"),
        (("fleet", "--bind", "amdin=unix:x"), "--bind amdin=: there is no service 'amdin'; did you mean admin?"),
        (("fleet", "--once"), "--once: once is for a service that is alone"),
        (("fleet", "--timeout-idle", "admin=x"), "--timeout-idle admin=: 'x' is not a duration"),
        (("app:shout", "--bind", "shout=unix:x"), "--bind shout=: shout is one service, not an application"),
        (("echo", "--factory"), "--factory: echo is a classic service"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(fleet, penstock, arguments, problem):
    """Status 2, in one line, and nothing is opened."""
    done = penstock("serve", *arguments)

    assert 2 == done.returncode
    assert done.stderr.startswith(f"penstock: error: {problem}")
    assert not (fleet / "told").exists()


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("fleet:app", "fleet:app is no factory: --factory is for a function without arguments"),
        ("fleet:tell", "fleet:tell is no factory: --factory is for a function without arguments"),
        ("fleet:broken", "cannot call fleet:broken: ValueError: not today"),
    ],
)
def test_what_is_no_factory_is_refused(fleet, penstock, target, problem):
    """Status 3; with the line of the user's that failed."""
    done = penstock("check", "--factory", target)

    assert (3, f"penstock: error: {problem}") == (done.returncode, done.stderr.splitlines()[0])


def test_a_factory_that_is_not_called_one_is_suggested(fleet, penstock):
    """A function without arguments is no handler."""
    done = penstock("check", "fleet:make_app")

    assert 3 == done.returncode
    assert "if it makes an application, say so with --factory" in done.stderr


def test_a_lifespan_that_fails_at_the_start_is_one_line_and_status_3(fleet, penstock):
    """Where, what; and no file of a socket is left."""
    done = penstock("serve", "fleet", env={"BROKEN": "1"})

    assert (3, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "the lifespan database (fleet.py:20) failed: OSError: no database" in done.stderr
    assert [] == list(fleet.glob("*.sock"))


def test_a_lifespan_that_fails_at_the_end_is_logged_and_status_1(fleet, serve):
    """After everything was served and drained."""
    served = serve("fleet", bind=None, env={"BROKEN_END": "1"})

    assert 1 == served.stop()
    assert "the lifespan database (fleet.py:25) failed at the end: OSError: disk full" in served.log()


def test_a_signal_while_a_lifespan_opens_gives_it_up(fleet, environ, directory):
    """Status 130: it was told to end before it served."""
    import subprocess
    import sys

    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "serve", "fleet"], cwd=directory, env=environ | {"SLOW": "1"}, stderr=-1
    )
    while not (directory / "told").exists() or "opening" not in told(directory):
        assert process.poll() is None
        time.sleep(0.01)  # another process: its file is all that tells
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)

    assert (130, ["opening", "given up"]) == (process.returncode, told(directory))


@pytest.mark.parametrize("loud", ["tracker", "admin"])
def test_each_service_decides_on_its_access_log(fleet, serve, penstock, loud):
    """Whichever is declared first."""
    (fleet / "penstock.toml").write_text(f"access_log = false\n[service.{loud}]\naccess_log = true\n")
    served = serve("fleet", bind=None)
    for name in ("tracker", "admin"):
        penstock("send", f"unix:{name}.sock", "--codec", "lines", "?")
    status = served.stop()
    lines = [line for line in served.log().splitlines() if "closed: " in line]

    assert (0, [f"unix:{loud}.sock"]) == (status, [line.partition("listener=")[2].split()[0] for line in lines])


@pytest.mark.parametrize(
    "words",
    [
        ("--access-log", "admin=false"),
        ("--access-log=admin=false", "--access-log", "tracker=true"),
        ("--no-access-log", "--access-log", "tracker=true"),
    ],
)
def test_a_flag_may_be_one_services(fleet, penstock, words):
    """With its value after the service's name, as an option."""
    shown = tomllib.loads(penstock("serve", "fleet", *words, "--print-config").stdout)["service"]

    assert (True, False) == (shown["tracker"]["access_log"], shown["admin"]["access_log"])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--access-log", "nobody=true"), "--access-log nobody=: there is no service 'nobody'"),
        (("--access-log", "admin=perhaps"), "--access-log admin=: 'perhaps' is not true or false"),
        (("--access-log", "true"), "unexpected extra argument (true)"),
    ],
)
def test_a_flag_that_is_no_services_is_refused(fleet, penstock, words, problem):
    """In one line that says why."""
    done = penstock("check", "fleet", *words)

    assert 2 == done.returncode
    assert problem in done.stderr


def test_a_flag_of_a_service_is_refused_where_there_are_none(penstock):
    """A classic service is one."""
    done = penstock("check", "echo", "--access-log", "echo=true")

    assert (2, True) == (done.returncode, "--access-log: 'echo=true' is not true or false" in done.stderr)


def test_json_logs_say_which_services_are_ready(fleet, serve):
    """With each one's addresses, codec and engine."""
    served = serve("fleet", "--log-format", "json", bind=None)
    while not (lines := served.log().splitlines()):
        assert served.process.poll() is None
    ready = json.loads(lines[0])

    assert "fleet" == ready["application"]
    assert {"tracker": ["unix:tracker.sock"], "admin": ["unix:admin.sock"]} == {
        name: each["addresses"] for name, each in ready["services"].items()
    }


def test_sighup_reads_the_options_of_each_service_again(fleet, serve):
    """What may change changes for the service that is meant; what is refused changes nothing."""
    file = fleet / "penstock.toml"
    file.write_text("[service.admin]\nmax_connections = 5\nbacklog = 10\n")
    served = serve("fleet", bind=None)

    def hang_up(text, word):
        file.write_text(text)
        served.process.send_signal(signal.SIGHUP)
        while word not in (log := served.log()):
            assert served.process.poll() is None, log
            time.sleep(0.01)  # another process: its log is all that tells
        return log

    hang_up("[service.admin]\nmax_connections = 6\nbacklog = 11\n", "wait for the next start: admin: backlog = 11")
    log = hang_up('[service.admin]\nmax_connections = "many"\n', "the configuration stays as it is: penstock.toml:2")

    assert "configuration reloaded: admin: max_connections = 6" in log
    assert 0 == served.stop()


def test_sigterm_ends_what_a_lifespan_opened_exactly_once(fleet, serve):
    """Also when it comes again while the application ends."""
    served = serve("fleet", bind=None)
    served.process.send_signal(signal.SIGTERM)
    served.stop()

    assert ["opening", "closed"] == told(fleet)
