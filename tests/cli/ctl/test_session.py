"""`penstock ctl` and the server it speaks to, each a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from penstock.control.client import Control
from penstock.control.messages import Connections, Drain, Kick, Reload, Stacks, Status
from penstock.engines.registry import ENGINES, native_missing
from penstock.errors import ConfigurationError

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets")

each_engine = pytest.mark.parametrize("engine", [name for name in ENGINES if name != "native" or not native_missing()])


def connected(served):
    host, port = served.address.removeprefix("tcp://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


@each_engine
def test_a_server_is_asked_and_told_while_it_serves(serve, directory, engine):
    """On every engine in its own loop: nothing of it is in the way of the peers, whose replies come as ever."""
    served = serve("app:shout", "--engine", engine, "--control", "c.sock", "--timeout-drain", "10s")
    with connected(served) as peer, connected(served) as other, Control(str(directory / "c.sock"), 20) as control:
        peer.sendall(b"a\n")
        assert b"A\n" == peer.recv(100)
        found, _ = control.ask(Status())
        assert (served.process.pid, "serving", engine) == (
            *(found["pid"], found["state"]),
            found["services"]["shout"]["engine"],
        )
        _, rows = control.ask(Connections(sort="messages_in", descending=True))
        assert (1, served.address) == (rows[0]["messages_in"], rows[0]["local"])
        assert {"kicked": 1} == control.ask(Kick(ids=[rows[0]["id"]]))[0]
        assert b"" == peer.recv(100)
        control.ask(Stacks())
        other.sendall(b"b\n")
        assert b"B\n" == other.recv(100)
        assert "draining" in control.ask(Drain())[0]
        assert b"" == other.recv(100)
        other.close()
        control.wait_end()

    assert 0 == served.process.wait(20)
    assert not (directory / "c.sock").exists()


def test_reload_says_what_has_changed_and_what_is_wrong(serve, directory):
    """As SIGHUP logs it; a file that is wrong changes nothing."""
    file = directory / "penstock.toml"
    file.write_text('control = "c.sock"\n')
    serve("app:shout")
    with Control(str(directory / "c.sock"), 20) as control:
        file.write_text('control = "c.sock"\nmax_connections = 3\nbacklog = 7\n')
        assert {"reloaded": "max_connections = 3; these changes wait for the next start: backlog = 7"} == (
            control.ask(Reload())[0]
        )
        file.write_text("max_connections = 0\n")
        with pytest.raises(ConfigurationError, match="max_connections"):
            control.ask(Reload())
        assert 3 == control.ask(Status())[0]["services"]["shout"]["max_connections"]


def test_the_commands_print_for_people_and_for_programs(serve, directory, penstock):
    """The socket is found as serve finds it: here by the configuration file."""
    (directory / "penstock.toml").write_text('control = "c.sock"\n')
    served = serve("app:shout")
    with connected(served) as peer:
        peer.sendall(b"a\n")
        assert b"A\n" == peer.recv(100)
        name = peer.getsockname()[1]
        done = penstock("ctl", "status", "--json")
        assert (0, "shout") == (done.returncode, json.loads(done.stdout)["name"])
        listed = penstock("ctl", "connections", "--service", "shout").stdout.splitlines()
        assert (2, True, True) == (len(listed), f"127.0.0.1:{name} " in listed[1], listed[0].startswith("ID  "))
        shown = penstock("ctl", "limits", "set", "max-per-peer=15").stdout
        assert "max_per_peer            15\n" in shown
        assert "1 ended\n" == penstock("ctl", "kick", "--peer", f"127.0.0.1:{name}").stdout
        assert b"" == peer.recv(100)
    assert "debug\n" == penstock("ctl", "log-level", "debug").stdout
    done = penstock("ctl", "scale", "3")
    assert (2, "penstock: error: there is no supervisor: this server is one process\n") == (
        *(done.returncode, done.stderr),
    )
    assert "draining 0 connections\n" == penstock("ctl", "drain", "--wait").stdout
    assert 0 == served.process.wait(20)


def test_the_only_server_is_found_by_itself(serve, directory, penstock):
    """With --control auto on both ends, or on one; of several it has to be said which."""
    (directory / "run").mkdir(mode=0o700)
    env = {"XDG_RUNTIME_DIR": str(directory / "run")}
    first = serve("app:shout", "--control", "auto", env=env)
    done = penstock("ctl", "status", "--json", env=env)
    assert first.process.pid == json.loads(done.stdout)["pid"]
    second = serve("app:shout", "--control", "auto", env=env)
    done = penstock("ctl", "status", env=env)
    assert (2, True) == (done.returncode, f"{second.process.pid}.sock" in done.stderr)
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait(20)
    done = penstock("ctl", "status", "--json", env=env)

    assert second.process.pid == json.loads(done.stdout)["pid"]


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["status", "--control", "nothing.sock"], 1, "nothing.sock"),
        (["status", "--control", "tcp://127.0.0.1:1"], 2, "is not the path of a Unix socket, or auto"),
        (["status"], 2, "no server with --control auto is running for this user"),
        (["limits", "set", "--control", "c.sock"], 1, "c.sock"),
        (["dance"], 2, "unknown command 'dance'"),
        (["kick", "none"], 2, "none"),
        (["connections", "--sort", "colour"], 2, "colour"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(penstock, directory, arguments, status, problem):
    """No server there, a wrong address, an unknown command, a wrong value."""
    (directory / "run").mkdir(mode=0o700)
    done = penstock("ctl", *arguments, env={"XDG_RUNTIME_DIR": str(directory / "run")})

    assert (status, "") == (done.returncode, done.stdout)
    assert problem in done.stderr.splitlines()[0]


def test_a_control_socket_that_cannot_be_made_ends_the_start(penstock, directory):
    """It was asked for. Nothing is served without it."""
    done = penstock("serve", "app:shout", "--bind", "tcp://127.0.0.1:0", "--control", "no/where.sock")

    assert 4 == done.returncode
    assert "no/where.sock" in done.stderr


def test_inherited_sockets_are_the_servers_own(directory, environ):
    """The control socket's server takes none of what a service manager hands down."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        script = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
            "os.execv(sys.executable, [sys.executable, '-m', 'penstock', 'serve', 'app:shout', '--control', 'c.sock',"
            "'--print-ready'])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(listener.fileno())],
            cwd=directory,
            env=environ,
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with process:
            addresses = json.loads(process.stdout.readline())["addresses"]
            with Control(str(directory / "c.sock"), 20) as control:
                found = control.ask(Status())[0]["services"]["shout"]["addresses"]
            process.terminate()
            process.stdout.read()

    assert [[address]] * 2 == [addresses, found]
