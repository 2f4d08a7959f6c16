"""Options of the process, as its user meets them."""

import json
import os
import stat
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc says who a process is")

needs_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root")


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def test_a_directory_a_mask_a_name_and_a_file_with_the_number(serve, directory):
    """A service is loaded from the directory, and relative names are meant from there."""
    (directory / "there").mkdir()
    (directory / "app.py").rename(directory / "there" / "app.py")
    served = serve(
        *("app:shout", "--chdir", "there", "--umask", "0077", "--process-name", "shouter-with-a-long-name"),
        *("--pid-file", "pid"),
    )
    pid = served.process.pid
    status = status_of(pid)
    file = directory / "there" / "pid"

    assert (f"{pid}\n", 0o600) == (file.read_text(), stat.S_IMODE(file.stat().st_mode))
    assert ("shouter-with-a-", "0077") == (status["Name"], status["Umask"])
    assert (0, False) == (served.stop(), file.exists())


def test_a_file_says_where_to_go_and_is_read_from_where_it_lies(serve, directory):
    """Its own relative names are meant from beside it; at SIGHUP it is the same file."""
    (directory / "there").mkdir()
    (directory / "app.py").rename(directory / "there" / "app.py")
    (directory / "penstock.toml").write_text('chdir = "there"\nbind = "unix:s"\nmax_connections = 7\n')
    served = serve("app:shout", bind=None)
    assert [f"unix://{directory}/s"] == served.addresses
    (directory / "penstock.toml").write_text('chdir = "there"\nbind = "unix:s"\nmax_connections = 8\n')
    served.process.send_signal(1)
    while "reloaded" not in (log := served.log()):
        assert served.process.poll() is None, log

    assert "configuration reloaded: max_connections = 8" in log
    assert "wait for the next start" not in log


def test_two_servers_do_not_share_a_file(serve, penstock, directory):
    """The second one says who has it, before it opens an address."""
    served = serve("echo", "--pid-file", "pid")
    second = penstock("serve", "echo", "--bind", served.address, "--pid-file", "pid")

    assert (
        2,
        f"penstock: error: --pid-file: {directory}/pid: pid {served.process.pid} has it, and is at work; stop that\n",
    ) == (
        second.returncode,
        second.stderr,
    )


def test_a_start_that_fails_leaves_no_file(serve, penstock, directory):
    """The address is taken, and the number of a process that is gone is nowhere."""
    served = serve("echo")
    second = penstock("serve", "echo", "--bind", served.address, "--pid-file", "pid")

    assert (4, False) == (second.returncode, (directory / "pid").exists())


APP = """
import json, os
import penstock

app = penstock.App()

@app.lifespan
def opened():
    app.state.opened_as = os.getuid()
    yield

@app.on_message(codec="lines", bind="unix:s")
def who(message):
    return json.dumps([app.state.opened_as, os.getuid(), os.getgid()]).encode()
"""


@needs_root
def test_root_opens_and_somebody_else_serves(serve, penstock, directory):
    """A port that only root may open, a socket's file that the user owns; lifespans are opened as the user."""
    (directory / "app.py").write_text(APP)
    served = serve("app:app", "--user", "nobody", "--pid-file", "pid", bind=None)
    sent = penstock("send", served.address, "--codec", "lines", "who")

    assert [65534] * 3 == json.loads(sent.stdout)
    assert 65534 == (directory / "s").stat().st_uid
    assert f"{served.process.pid}\n" == (directory / "pid").read_text()
    served.stop()
    assert (directory / "pid").read_text() == "" or not (directory / "pid").exists()


def test_checking_finds_a_user_that_there_is_not(penstock):
    """As serving would."""
    result = penstock("check", "echo", "--user", "no-such-user")

    assert (2, "penstock: error: --user: there is no user 'no-such-user'\n") == (result.returncode, result.stderr)
