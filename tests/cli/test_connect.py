"""``penstock connect``: a filter between standard input and a peer, and a prompt for people."""

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading

import pytest

LINES = "".join(f"line {number} é☂\n" for number in range(2000))


def lines_of(done):
    """What a finished process said: status, output, errors."""
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def peer():
    """A function that starts a server of one connection, handled by a function in a thread."""
    threads = []

    def start(handle, family=socket.AF_INET):
        listener = socket.create_server(("127.0.0.1", 0), family=family)

        def run():
            conn, _ = listener.accept()
            with listener, conn:
                conn.settimeout(20)
                handle(conn)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        return "tcp://{}:{}".format(*listener.getsockname())

    yield start
    for thread in threads:
        thread.join(20)


def read_to_end(conn):
    """Return what a socket's peer sends until EOF."""
    return b"".join(iter(lambda: conn.recv(65536), b""))


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "unix:echo.sock", "unix+seqpacket:echo.sock"])
def test_it_is_a_filter(serve, penstock, bind):
    """What goes in comes back whole, and it ends when the input has ended and the last reply has come."""
    served = serve("app:echo", bind=bind)

    assert (0, LINES, "") == lines_of(penstock("connect", served.address, data=LINES))


def test_raw_bytes_pass_as_they_are(serve, penstock):
    """Every byte value, no newline at the end, in both directions."""
    served = serve("app:echo")
    data = bytes(range(256)) * 1000
    done = penstock("connect", served.address, input=data, text=False)

    assert (0, data, b"") == lines_of(done)


def test_each_line_is_a_message_with_a_codec_of_lines(serve, penstock):
    """One reply on one line for each; the last line needs no newline."""
    served = serve("app:shout")

    assert (0, "ONE\n\nTHREE\n", "") == lines_of(
        penstock("connect", served.address, "--codec", "lines", data="one\n\nthree")
    )


def test_objects_are_written_and_shown_as_json(serve, penstock):
    """Each line of input is one, each line of output too."""
    served = serve("app:objects")

    assert (0, '{"got": {"a": "é"}}\n{"got": null}\n', "") == lines_of(
        penstock("connect", served.address, "--codec", "json-lines", data='{"a": "é"}\nnull\n')
    )


def test_the_codec_may_come_from_the_environment(serve, penstock):
    """The variable is the server's: one terminal, one protocol."""
    served = serve("app:shout")

    assert "A\n" == penstock("connect", served.address, data="a\n", env={"PENSTOCK_CODEC": "lines"}).stdout


def test_a_line_that_is_no_message_ends_it(serve, penstock):
    """Status 2, the line's number, and the replies to what came before are not promised."""
    served = serve("app:objects")
    done = penstock("connect", served.address, "--codec", "json-lines", data="{}\n{\n")

    assert 2 == done.returncode
    assert done.stderr.startswith("penstock: error: line 2 of the input: json-lines messages are written as JSON: ")


def test_a_line_that_the_codec_refuses_ends_it(serve, penstock):
    """What cannot be sent is not sent in part."""
    served = serve("app:shout")
    done = penstock("connect", served.address, "--codec", "lines:max=4", data="long line\n")

    assert 2 == done.returncode
    assert done.stderr.startswith("penstock: error: line 1 of the input: ")


def test_the_last_replies_are_waited_for(penstock, peer):
    """The peer answers only once it has seen the end of the input."""

    def handle(conn):
        data = read_to_end(conn)
        conn.sendall(data.upper() * 10_000)

    assert (0, "QUESTION\n" * 10_000, "") == lines_of(penstock("connect", peer(handle), data="question\n"))


def test_the_end_of_the_peer_ends_it(penstock, peer):
    """Although the input goes on."""
    read, write = os.pipe()

    def handle(conn):
        conn.sendall(b"bye\n")

    done = penstock("connect", peer(handle), stdin=read)
    os.close(read)
    os.close(write)

    assert (0, "bye\n", "") == lines_of(done)


def test_input_from_a_file_and_from_nothing(serve, penstock, directory):
    """Neither is a pipe."""
    served = serve("app:echo")
    (directory / "input").write_text(LINES)
    with (directory / "input").open() as file:
        assert (0, LINES, "") == lines_of(penstock("connect", served.address, stdin=file))

    assert (0, "", "") == lines_of(penstock("connect", served.address, stdin=subprocess.DEVNULL))


def test_much_input_passes_while_its_replies_come(serve, penstock):
    """20 MB to an echo of lines, whose replies come while input is still sent."""
    lines = ("x" * 9_999 + "\n") * 2_000
    done = penstock("connect", serve("app:twice").address, "--codec", "lines", data=lines)

    assert (0, 2 * len(lines), "") == (done.returncode, len(done.stdout), done.stderr)


def test_output_to_a_file(serve, penstock, directory):
    """It gets the bytes."""
    served = serve("app:echo")
    with (directory / "output").open("w") as file:
        penstock("connect", served.address, data=LINES, stdout=file)

    assert LINES == (directory / "output").read_text()


def test_output_that_nobody_reads_ends_it_quietly(serve, environ, directory):
    """As SIGPIPE would have."""
    served = serve("app:echo")
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "connect", served.address],
        env=environ,
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(b"x\n")
    process.stdin.flush()
    assert b"x\n" == process.stdout.readline()
    process.stdout.close()
    process.stdin.write(b"x\n")
    process.stdin.flush()

    assert 141 == process.wait(20)
    assert b"" == process.stderr.read()
    process.stdin.close()
    process.stderr.close()


def test_a_reset_is_an_error(penstock, peer):
    """Status 1, in the system's words."""

    def handle(conn):
        conn.recv(1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    address = peer(handle)
    done = penstock("connect", address, data="x\n")

    assert 1 == done.returncode
    assert done.stderr.startswith(f"penstock: error: {address}: ")
    assert 1 == len(done.stderr.splitlines())


def test_a_peer_that_breaks_the_framing_is_a_protocol_error(penstock, peer):
    """Status 5, and what was whole before it is shown."""

    def handle(conn):
        conn.sendall(b"3:abc,x:")
        read_to_end(conn)

    address = peer(handle)
    done = penstock("connect", address, "--codec", "netstring", data="x\n")

    assert (5, "abc\n") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"penstock: error: {address}: ")


def test_over_datagrams_a_silence_is_the_end(serve, penstock):
    """There is no EOF; each line is a datagram, and an empty one is a message too."""
    served = serve("app:shout", bind="udp://127.0.0.1:0")
    done = penstock("connect", served.address, "--codec", "lines", "--wait", "300ms", data="one\n\nthree\n")

    assert (0, ["", "ONE", "THREE"], "") == (done.returncode, sorted(done.stdout.split("\n")[:-1]), done.stderr)


def test_datagrams_to_nobody_are_refused(penstock, reserve):
    """The kernel of the other end says so."""
    address = f"udp://127.0.0.1:{reserve()}"
    done = penstock("connect", address, data="x\n")

    told = f"penstock: error: {address}: nothing listens on {address.removeprefix('udp://')}: connection refused\n"
    assert (1, "", told) == lines_of(done)


def test_a_name_is_told_with_the_address_that_was_tried(penstock, reserve):
    """`localhost` may be ::1 first, where the server is not."""
    port = reserve()
    udp = penstock("connect", f"udp://localhost:{port}", data="x\n").stderr
    tcp = penstock("connect", f"tcp://localhost:{port}", data="x\n").stderr
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"localhost:{silent.getsockname()[1]}"
        waiting = penstock("send", f"tcp://{mute}?family=ipv4", "--codec", "lines", "--timeout", "300ms", "x").stderr

    loopback = r"(\[::1\]|127\.0\.0\.1)"
    told = rf"penstock: error: udp://localhost:{port}: nothing listens on {loopback}:{port}: connection refused\n"
    assert re.fullmatch(told, udp)
    assert re.fullmatch(
        rf"penstock: error: cannot connect to tcp://localhost:{port}: connection refused "
        rf"\((\[::1\]:{port}, )?127\.0\.0\.1:{port}(, \[::1\]:{port})?\)\n",
        tcp,
    )
    assert waiting.startswith(f"penstock: error: no reply from tcp://{mute}?family=ipv4 (127.0.0.1:")


def test_interrupting_it_is_no_traceback(serve, environ, directory):
    """Status 130."""
    served = serve("app:echo")
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "connect", served.address],
        env=environ,
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(b"x\n")
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)

    assert 130 == process.wait(20)
    assert b"" == process.stderr.read()
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def test_a_background_job_is_not_interrupted(serve, environ, directory, background):
    """As other filters: the Ctrl-C of a terminal is not meant for it."""
    served = serve("app:echo")
    with subprocess.Popen(
        [*background, sys.executable, "-m", "penstock", "connect", served.address],
        env=environ,
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        said = []
        for line in (b"before\n", b"after\n"):
            process.stdin.write(line)
            process.stdin.flush()
            said.append(process.stdout.readline())
            process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)

    assert [b"before\n", b"after\n"] == said
    assert (0, b"", b"") == (process.returncode, output, errors)


class Terminal:
    """A program on a terminal of its own, seen through the terminal's other end."""

    def __init__(self, arguments, program=("-m", "penstock"), **options):
        self.fd, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            **options,
        )
        os.close(inner)
        self.seen = ""

    def type(self, text):
        """Press keys."""
        os.write(self.fd, text.encode())

    def wait_for(self, text):
        """Read until ``text`` has been shown, and return all that came until then."""
        while text not in self.seen:
            assert select.select([self.fd], [], [], 20)[0], f"{text!r} did not come: {self.seen!r}"
            self.seen += os.read(self.fd, 65536).decode()
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def end(self):
        """Return the exit status and what was shown last."""
        status = self.process.wait(20)
        while select.select([self.fd], [], [], 0)[0]:
            try:
                self.seen += os.read(self.fd, 65536).decode()
            except OSError:  # EIO: the program's end is closed
                break
        os.close(self.fd)
        return status, self.seen


def test_on_a_terminal_there_is_a_prompt_and_replies_come_above_it(serve, environ, directory):
    """And CTRL+D ends it."""
    served = serve("app:echo")
    terminal = Terminal(["connect", served.address, "--plain"], env=environ, cwd=directory)
    banner = terminal.wait_for("> ")
    terminal.type("hé\x1b[2J\n")
    terminal.wait_for("\x1b[K")
    reply = terminal.wait_for("> ")
    terminal.type("\x04")
    status, _ = terminal.end()

    assert f"connected to {served.address.partition('//')[2]}; CTRL+D ends\r\n> " == banner
    assert "hé\\x1b[2J\r\n> " == reply
    assert 0 == status


def test_without_the_extra_the_plain_prompt_says_once_what_is_missing(serve, environ, directory):
    """And is the plain prompt."""
    served = serve("app:echo")
    script = "import sys; sys.modules['prompt_toolkit'] = None; from penstock.cli.main import main; sys.exit(main())"
    terminal = Terminal(["connect", served.address], ("-c", script), env=environ, cwd=directory)
    shown = terminal.wait_for("> ")
    terminal.type("x\n")
    shown += terminal.wait_for("x\r\n> ")
    terminal.type("\x04")

    assert 0 == terminal.end()[0]
    assert (
        f"connected to {served.address.partition('//')[2]}; CTRL+D ends; for line editing install penstock[cli]"
        in shown
    )
    assert 1 == shown.count("penstock[cli]")


def test_a_dumb_terminal_is_not_sent_escape_codes(serve, environ, directory):
    """Rows 34: TERM=dumb."""
    served = serve("app:shout")
    terminal = Terminal(["connect", served.address, "--codec", "lines"], env=environ | {"TERM": "dumb"}, cwd=directory)
    shown = terminal.wait_for("> ")
    terminal.type("abc\n")
    shown += terminal.wait_for("ABC\r\n> ")
    terminal.type("\x04")
    status, rest = terminal.end()

    assert 0 == status
    assert "\x1b" not in shown + rest


def test_the_terminal_is_left_as_it_was(serve, environ, directory):
    """A terminal that is left non-blocking breaks the next program."""
    served = serve("app:echo")
    fd, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "connect", served.address, "--plain"],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env=environ,
        cwd=directory,
    )
    os.write(fd, b"x\n\x04")

    assert 0 == process.wait(20)
    assert os.get_blocking(inner)
    os.close(fd)
    os.close(inner)


@pytest.mark.parametrize(
    ("service", "arguments", "data", "output"),
    [
        ("app:echo", ["--hex"], "00 ff\n", "00 ff\n"),
        ("app:shout", ["--codec", "lines", "--hex"], "61\n6263\n", "41\n42 43\n"),
    ],
)
def test_input_and_output_as_hexadecimal(serve, penstock, service, arguments, data, output):
    """Each line of input is sent by itself; what comes is a line."""

    assert (0, output, "") == lines_of(penstock("connect", serve(service).address, *arguments, data=data))


def test_lines_may_end_with_cr_lf(serve, penstock):
    """Whatever they ended with; a last line without an end gets none."""
    served = serve("app:echo")
    done = penstock("connect", served.address, "--crlf", input=b"a\n\nb\r\nc", text=False)

    assert (0, b"a\r\n\r\nb\r\nc", b"") == lines_of(done)


@pytest.mark.parametrize(
    "arguments", [["--crlf", "--codec", "lines"], ["--crlf", "--hex"], ["--hex", "--codec", "json-lines"]]
)
def test_what_does_not_go_together_is_refused(penstock, arguments):
    """Before anything is connected to."""
    done = penstock("connect", "tcp://127.0.0.1:1", *arguments)

    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"penstock: error: {arguments[0]}: ")
