"""``penstock send``: some messages, the replies to them, and an exit status that says how it went."""

import json
import socket
import threading

import pytest


@pytest.fixture
def mute():
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []
        stop = threading.Event()

        def run():
            listener.settimeout(0.05)
            while not stop.is_set():
                try:
                    taken.append(listener.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=run)
        thread.start()
        yield "tcp://{}:{}".format(*listener.getsockname())
        stop.set()
        thread.join()
        for conn in taken:
            conn.close()


@pytest.mark.parametrize(
    ("service", "arguments", "output"),
    [
        ("app:shout", ["--codec", "lines", "one", "two"], "ONE\nTWO\n"),
        ("app:shout", ["--codec", "lines", ""], "\n"),
        ("app:shout", ["--codec", "lines", "é☂"], "é☂\n"),
        ("app:echo", ["one"], "one"),
        ("app:objects", ["--codec", "json-lines", '{"a": 1}'], '{"got": {"a": 1}}\n'),
        ("app:twice", ["--codec", "lines", "a"], "a\n"),
        ("app:twice", ["--codec", "lines", "--all", "a", "b"], "a\na\nb\nb\n"),
        ("app:farewell", ["--codec", "lines", "a"], "bye a\n"),
        ("app:shout", ["--codec", "lines", "--", "-1"], "-1\n"),
    ],
)
def test_replies_are_printed(serve, penstock, service, arguments, output):
    """One for each message; with ``--all``, whatever comes until the peer ends."""
    done = penstock("send", serve(service).address, *arguments)

    assert (0, output, "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("bind", ["udp://127.0.0.1:0", "unix:s", "unix+dgram:s", "unix+seqpacket:s"])
def test_every_kind_of_socket_can_be_sent_to(serve, penstock, bind):
    """A reply for each message."""
    done = penstock("send", serve("app:shout", bind=bind).address, "--codec", "lines", "one", "two")

    assert (0, "ONE\nTWO\n", "") == (done.returncode, done.stdout, done.stderr)


def test_all_replies_over_datagrams_end_with_the_time(serve, penstock):
    """There is no other end."""
    served = serve("app:shout", bind="udp://127.0.0.1:0")
    done = penstock("send", served.address, "--codec", "lines", "--all", "--timeout", "500ms", "one")

    assert (0, "ONE\n", "") == (done.returncode, done.stdout, done.stderr)


def test_no_reply_in_time_is_status_3(penstock, mute):
    """With a hint at the reason that is most often the right one."""
    done = penstock("send", mute, "--timeout", "200ms", "hello")

    assert (3, "") == (done.returncode, done.stdout)
    assert (
        f"penstock: error: no reply from {mute} within 200ms\n"
        "  a server of lines waits for the end of one: --codec lines\n"
    ) == done.stderr


def test_time_covers_everything(penstock, mute):
    """Also with ``--all``, where the end of the peer is what does not come."""
    done = penstock("send", mute, "--all", "--codec", "lines", "--timeout", "200ms", "hello", "again")

    assert (3, f"penstock: error: no reply from {mute} within 200ms\n") == (done.returncode, done.stderr)


def test_a_peer_that_leaves_too_early_is_status_1(serve, penstock):
    """And the replies that came are printed."""
    served = serve("app:farewell")
    done = penstock("send", served.address, "--codec", "lines", "one", "two")

    assert (1, "bye one\n") == (done.returncode, done.stdout)
    assert f"penstock: error: {served.address} closed after 1 of 2 replies\n" == done.stderr


def test_a_peer_that_resets_is_status_1(serve, penstock):
    """In the system's words."""
    served = serve("app:abort")
    done = penstock("send", served.address, "--codec", "lines", "one")

    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"penstock: error: {served.address}: ")


def test_a_reply_that_is_no_frame_is_status_5(serve, penstock):
    """The peer speaks another protocol."""
    served = serve("app:shout")
    done = penstock("send", served.address, "--codec", "json-lines", "true")

    assert (5, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"penstock: error: {served.address}: ")


@pytest.mark.parametrize(
    ("service", "arguments", "output"),
    [
        ("app:shout", ["--codec", "lines", "--repeat", "3", "a", "b"], "A\nB\n" * 3),
        ("app:shout", ["--codec", "lines", "--repeat", "2", "--interval", "1ms", "a"], "A\nA\n"),
        ("app:echo", ["--hex", "00 ff0a"], "00 ff 0a\n"),
        ("app:shout", ["--codec", "lines", "--hex", "6162", "63"], "41 42\n43\n"),
        ("app:shout", ["--codec", "lines", "--from-file", "messages", "first"], "FIRST\nONE\n\nTHREE\n"),
        ("app:echo", ["--from-file", "messages"], "one\n\nthree\n"),
    ],
)
def test_messages_are_repeated_and_come_in_hexadecimal_and_from_files(
    serve, penstock, directory, service, arguments, output
):
    """A file is one message of raw bytes, or one message on each line; those of the command line go first."""
    (directory / "messages").write_text("one\n\nthree\n")
    done = penstock("send", serve(service).address, *arguments)

    assert (0, output, "") == (done.returncode, done.stdout, done.stderr)


def test_messages_come_from_standard_input(serve, penstock):
    """Where the file is called ``-``."""
    served = serve("app:objects")
    done = penstock("send", served.address, "--codec", "json-lines", "--from-file", "-", data="1\n[2]\n")

    assert (0, '{"got": 1}\n{"got": [2]}\n') == (done.returncode, done.stdout)


def test_json_says_how_long_a_reply_took(serve, penstock):
    """Replies that are objects are objects in it; bytes are text."""
    objects = penstock("send", serve("app:objects").address, "--codec", "json-lines", "--json", "[1]")
    text = penstock("send", serve("app:shout").address, "--codec", "lines", "--json", "é")

    assert {"got": [1]} == json.loads(objects.stdout)["reply"]
    assert "é" == json.loads(text.stdout)["reply"]
    assert json.loads(text.stdout)["seconds"] > 0


@pytest.mark.parametrize(
    ("service", "arguments", "status"),
    [
        ("app:shout", ["--codec", "lines", "--expect", "^P.NG$", "ping"], 0),
        ("app:shout", ["--codec", "lines", "--expect", "pong", "ping"], 1),
        ("app:twice", ["--codec", "lines", "--all", "--expect", "b", "a", "b"], 0),
        ("app:twice", ["--codec", "lines", "--all", "--expect", "c", "a", "b"], 1),
        ("app:farewell", ["--codec", "lines", "--expect", "nothing", "a", "b"], 1),
        ("app:echo", ["--expect", "pin", "ping"], 0),
        ("app:echo", ["--expect", "pong", "--timeout", "300ms", "ping"], 1),
        ("app:echo", ["--hex", "--expect", "^ff 00$", "ff00"], 0),
        ("app:silent", ["--codec", "lines", "--expect", "x", "--timeout", "200ms", "x"], 1),
    ],
)
def test_what_is_expected_decides_the_status(serve, penstock, service, arguments, status):
    """A health check in one line."""
    served = serve(service)
    done = penstock("send", served.address, *arguments)
    told = f"penstock: error: no reply of {served.address} has a match of " if status else ""

    assert status == done.returncode
    assert done.stderr.startswith(told)
    assert bool(status) == bool(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "there is no message: give one, or --from-file"),
        (["--hex", "0"], "message 1: bytes are pairs of hexadecimal digits"),
        (["--hex", "--codec", "json-lines", "1"], "--hex: json-lines messages are no bytes"),
        (["--expect", "(", "x"], "--expect: '(' is no regular expression"),
        (["--from-file", "missing"], "--from-file: cannot read missing: no such file"),
        (["--codec", "json-lines", "--from-file", "bad"], "bad:2: json-lines messages are written as JSON"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(penstock, directory, arguments, told):
    """Nobody listens there, and nobody is asked."""
    (directory / "bad").write_text("1\n{\n")
    done = penstock("send", "tcp://127.0.0.1:1", *arguments)

    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"penstock: error: {told}")
