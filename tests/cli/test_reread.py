"""What SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 do to ``penstock serve``: left to the system they would end it at once."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from penstock.engines.registry import ENGINES, native_missing

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of this kind are a thing of Unix")

each_engine = pytest.mark.parametrize("engine", [name for name in ENGINES if name != "native" or not native_missing()])


@pytest.fixture
def serve_and_read(serve):
    """A function that starts a server whose standard error is read here."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **options):
            served = serve(*arguments, stderr=subprocess.PIPE, start_new_session=True, **options)
            stack.enter_context(served.process.stderr)
            return served

        yield start


def said(served, text):
    """Return the next line of a server's log that holds ``text``; all before it is passed over."""
    for line in served.process.stderr:
        if text.encode() in line:
            return line.decode().rstrip()
    raise AssertionError(f"it ended and never said {text!r}")


def said_in_any_order(served, *texts):
    """Return a line of a server's log for each of these, once there is one that holds it."""
    found = {}
    while found.keys() != set(texts):
        line = served.process.stderr.readline().decode()
        assert line, f"it ended and never said all of {texts}"
        found = {text: line for text in texts if text in line} | found
    return [found[text] for text in texts]


def ask(peer, data):
    """Send a line and return the answer."""
    peer.sendall(data)
    return peer.recv(100)


def connected(served):
    host, port = served.address.removeprefix("tcp://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


@each_engine
def test_sighup_reloads_what_may_change_and_nothing_else(serve_and_read, directory, engine):
    """The log says which of the two a change is. Connections that are open stay."""
    file = directory / "penstock.toml"
    file.write_text('timeout_drain = "1s"\n')
    served = serve_and_read("app:shout", "--engine", engine)
    with connected(served) as peer:
        assert b"A\n" == ask(peer, b"a\n")
        lines = ['timeout_drain = "2s"', "max_connections = 1", 'on_refusal = "close"', 'refusal_text = "full"']
        file.write_text("\n".join([*lines, "backlog = 7"]))
        served.process.send_signal(signal.SIGHUP)

        listed = said(served, "configuration reloaded: ").partition("reloaded: ")[2].split(", ")
        assert {line.replace('"close"', '["close"]') for line in lines} == set(listed)
        assert said(served, "wait for the next start").endswith("start: backlog = 7")
        with connected(served) as refused:
            assert b"full\n" == refused.recv(100)
        assert b"B\n" == ask(peer, b"b\n")

        served.process.send_signal(signal.SIGHUP)
        assert said(served, "configuration reloaded").endswith("reloaded: nothing has changed")
    assert 0 == served.stop()


@each_engine
def test_a_file_that_is_wrong_changes_nothing(serve_and_read, directory, engine):
    """All mistakes are in the log, in one line, and the server goes on as before."""
    file = directory / "penstock.toml"
    file.write_text("max_connections = 9\n")
    served = serve_and_read("app:shout", "--engine", engine)
    file.write_text('max_conections = 1\nbacklog = "x"\n')
    served.process.send_signal(signal.SIGHUP)

    line = said(served, "the configuration stays as it is")
    assert "penstock.toml:1: unknown option 'max_conections'; did you mean max_connections?; penstock.toml:2" in line
    with connected(served) as one, connected(served) as two:
        assert (b"A\n", b"B\n") == (ask(one, b"a\n"), ask(two, b"b\n"))
    assert 0 == served.stop()


@each_engine
def test_networks_are_others_after_sighup(serve_and_read, directory, engine):
    """From other options, or from the same file of networks, at once."""
    networks, file = directory / "deny.txt", directory / "penstock.toml"
    networks.write_text("")
    file.write_text(f'deny = ["@{networks}"]\n')
    served = serve_and_read("app:shout", "--engine", engine)
    networks.write_text("127.0.0.0/8\n")
    served.process.send_signal(signal.SIGHUP)
    said(served, "configuration reloaded")
    with pytest.raises(ConnectionError), connected(served) as peer:
        ask(peer, b"a\n")

    file.write_text("deny = []\n")
    served.process.send_signal(signal.SIGHUP)
    assert said(served, "configuration reloaded").endswith("reloaded: deny = []")
    with connected(served) as peer:
        assert b"A\n" == ask(peer, b"a\n")
    assert 0 == served.stop()


@each_engine
def test_sigquit_says_what_is_done_even_if_the_loop_is_held(serve_and_read, directory, engine):
    """The stack of every thread, at once; of every task, when the loop has its turn; and the server goes on."""
    (directory / "held.py").write_text(
        textwrap.dedent("""
            import os, penstock

            @penstock.on_message(codec="lines")
            def hold(message: bytes) -> bytes:
                os.write(1, b"held\\n")
                return os.read(0, 100)
        """)
    )
    served = serve_and_read("held:hold", "--engine", engine, stdin=subprocess.PIPE)
    with connected(served) as peer:
        peer.sendall(b"a\n")
        assert b"held\n" == served.process.stdout.readline()
        served.process.send_signal(signal.SIGQUIT)
        if engine == "blocking":  # its loop is not held, and speaks beside the one that shows the stacks
            held, _, task = said_in_any_order(served, "in hold", "connection 1 of 127.0.0.1:", "task Task-1: ")
        else:
            held = said(served, "in hold")
        served.process.stdin.write(b"let go")
        served.process.stdin.flush()
        assert b"let go\n" == peer.recv(100)
        if engine != "blocking":
            assert said(served, "connection 1 of 127.0.0.1:").endswith(": no handler is at work")
            task = said(served, "task Task-1: ")

        assert f'File "{directory}/held.py"' in held
        assert "Server.wait_stopped" in task
    served.process.stdin.close()
    assert 0 == served.stop()


@each_engine
@pytest.mark.parametrize(
    ("number", "text"),
    [(signal.SIGUSR1, "the log is standard error, and has no file"), (signal.SIGUSR2, "there is no supervisor")],
)
def test_signals_for_what_is_not_there_say_so(serve_and_read, engine, number, text):
    """And end nothing."""
    served = serve_and_read("app:shout", "--engine", engine)
    with connected(served) as peer:
        served.process.send_signal(number)
        assert text in said(served, f"{number.name} ignored")
        assert b"A\n" == ask(peer, b"a\n")
    assert 0 == served.stop()


def test_log_files_are_opened_again(serve, directory):
    """After they were moved away: what comes then is in a new file of the same name."""
    (directory / "logging.toml").write_text(
        """
        [handlers.file]
        class = "logging.FileHandler"
        filename = "server.log"
        [root]
        level = "INFO"
        handlers = ["file"]
        """
    )
    log = directory / "server.log"
    served = serve("app:shout", "--log-config", "logging.toml")
    with connected(served) as peer:
        assert b"A\n" == ask(peer, b"a\n")
        log.rename(directory / "server.log.1")
        served.process.send_signal(signal.SIGUSR1)
        while not log.exists():
            assert b"A\n" == ask(peer, b"a\n")
    assert 0 == served.stop()

    assert "log files opened again: 1" in log.read_text()
    assert "draining" in log.read_text()


def in_a_window(environ, directory, ignored=()):
    """Serve on a terminal of its own; return the process's id, the terminal's other end, and the log."""
    address = directory / "s"
    serve = [sys.executable, "-m", "penstock", "serve", "app:shout", "--bind", f"unix:{address}", "--print-ready"]
    reader, writer = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        os.chdir(directory)
        os.execve(serve[0], serve, environ)
    os.close(writer)
    log = open(reader, "rb")  # noqa: SIM115  # its reader closes it
    assert any(b'"ready"' in line for line in log)
    return child, terminal, log


def test_a_window_that_is_closed_drains(environ, directory):
    """The terminal of the process is gone, as SIGHUP says: what was received is answered, and it ends."""
    child, terminal, log = in_a_window(environ, directory)
    with log:
        os.close(terminal)

        assert b"draining" in log.read()
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_server_that_is_to_outlive_its_window_does(environ, directory):
    """Started with nohup, it takes SIGHUP for a reload, and is ended by SIGTERM."""
    child, terminal, log = in_a_window(environ, directory, ignored=[signal.SIGHUP])
    with log:
        os.close(terminal)
        assert any(b"configuration reloaded: nothing has changed" in line for line in log)
        os.kill(child, signal.SIGTERM)

        assert b"draining" in log.read()
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_programs_own_handlers_stay(environ, directory):
    """`penstock.run` leaves a signal to who has a handler for it, and says of SIGHUP that there is nothing to read."""
    (directory / "own.py").write_text(
        textwrap.dedent("""
            import logging, os, signal, penstock

            logging.basicConfig(format="%(message)s")
            signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"mine\\n"))
            before = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2)]
            status = penstock.run(
                lambda message: message, port=0, on_ready=lambda server: os.write(1, b"ready\\n")
            )
            after = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2)]
            raise SystemExit(status if before == after else 99)
        """)
    )
    process = subprocess.Popen(
        [sys.executable, "own.py"],
        cwd=directory,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert b"ready\n" == process.stdout.readline()
        process.send_signal(signal.SIGUSR1)
        assert b"mine\n" == process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        assert b"SIGHUP ignored: the configuration is the program's own" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)

        assert 0 == process.wait(20)
