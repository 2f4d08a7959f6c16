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


def test_a_large_file_comes_back_from_an_echo(serve, penstock, directory):
    """What writes reads as well: 8 MB to a service that answers while it is sent to."""
    (directory / "large").write_bytes(b"q" * 8_000_000)
    done = penstock("send", serve("echo").address, "--all", "--from-file", "large")

    assert (0, 8_000_000, "") == (done.returncode, len(done.stdout), done.stderr)


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
        ([], "no message given; give one, or --from-file"),
        (["--hex", "0"], "message 1: bytes are pairs of hexadecimal digits"),
        (["--hex", "--codec", "json-lines", "1"], "--hex: json-lines messages are not bytes"),
        (["--expect", "(", "x"], "--expect: '(' is not a valid regular expression"),
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


# -- what is said when time runs out -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--codec", "raw", "hello"], "  a server of lines waits for the end of one: --codec lines\n"),
        (["--codec", "raw", "hello\n"], ""),
        (["--codec", "raw", "--all", "hello"], ""),
        (["--codec", "lines", "hello"], ""),
        (["--codec", "netstring", "--expect", "x", "hello"], ""),
    ],
    ids=repr,
)
def test_the_hint_fits_what_was_sent(penstock, mute, arguments, hint):
    """A line that was not ended, to a server that may wait for its end; of anything else nothing is known."""
    done = penstock("send", mute, "--timeout", "200ms", *arguments)

    assert (done.returncode, "") == (1 if "--expect" in arguments else 3, done.stdout)
    assert hint == "".join(done.stderr.splitlines(keepends=True)[1:])


def test_the_hint_fits_what_came(serve, penstock):
    """Bytes that are no message yet."""
    address = serve("hello", "--codec", "lines").address
    done = penstock("send", address, "--codec", "fixed:size=200", "--timeout", "1s", "x" * 200)

    assert 3 == done.returncode
    assert (
        f"penstock: error: no reply from {address} within 1s\n"
        "  29 bytes came that are not a complete message of the codec fixed\n"
    ) == done.stderr


def test_a_datagram_that_nobody_answers_is_no_line(penstock):
    """Nothing is said of lines."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        done = penstock("send", "udp://{}:{}".format(*silent.getsockname()), "--timeout", "200ms", "x")

    assert 3 == done.returncode
    assert done.stderr.endswith(
        " within 200ms\n  a datagram may be lost without a word, and nothing says whether anybody listens\n"
    )


@pytest.mark.parametrize("more", [[], ["--expect", "x"]])
def test_what_was_never_connected_has_sent_nothing(penstock, more):
    """The error names the phase: there is nothing to say about lines, or about replies."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as hole:
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        address = "tcp://{}:{}".format(*hole.getsockname())
        done = penstock("send", address, "--timeout", "200ms", *more, "hello")
        for filler in fillers:
            filler.close()

    assert (3, f"penstock: error: cannot connect to {address}: no answer within 0.2 s\n") == (
        done.returncode,
        done.stderr,
    )


# -- codecs of objects -------------------------------------------------------------------------------------------------

OBJECTS = """
import dataclasses
import typing
import penstock
from penstock.codecs import Codec, NEED_DATA

@dataclasses.dataclass
class Reading:
    sensor: bytes
    value: int

class Pair(Codec):  # says nothing of what its messages are
    name = "pair"
    def decode(self, buffer):
        if len(buffer) < 2:
            return NEED_DATA
        message = buffer[0], buffer[1]
        del buffer[:2]
        return message
    def encode(self, message):
        return bytes(message)

class Tuples(Pair):
    name = "tuples"
    message_type = tuple[int, int]

class Readings(Codec):
    name = "readings"
    message_type = Reading
    def decode(self, buffer):
        if len(buffer) < 2:
            return NEED_DATA
        message = Reading(bytes(buffer[:1]), buffer[1])
        del buffer[:2]
        return message
    def encode(self, message):
        return message.sensor[:1] + bytes([message.value])

class Silent(Readings):  # says nothing either, and wants an object
    name = "silent"
    message_type = bytes

pair = penstock.on_message(codec=Pair())(lambda message: message)
"""


@pytest.mark.parametrize(
    ("codec", "arguments", "output"),
    [
        ("Pair", ["AB"], "[65, 66]\n"),
        ("Pair", ["--hex", "41 42"], "[65, 66]\n"),
        ("Pair", ["--json", "AB"], [65, 66]),
        ("Tuples", ["[65, 66]"], "[65, 66]\n"),
        ("Readings", ['{"sensor": "A", "value": 66}'], '{"sensor": "A", "value": 66}\n'),
        ("Readings", ["--json", '{"sensor": "A", "value": 66}'], {"sensor": "A", "value": 66}),
        ("Readings", ['{"sensor": "A"}'], "message 1: readings messages are written as JSON: Object missing required"),
        (
            "Tuples",
            ['[65, "x"]'],
            "message 1: tuples messages are written as JSON: Expected `int`, got `str` - at `$[1]`",
        ),
        (
            "Silent",
            ["A"],
            "message 1: encode of the codec silent raised AttributeError: 'bytes' object has no attribute 'sensor'; "
            "a codec whose messages are not bytes says so: message_type",
        ),
    ],
    ids=repr,
)
@pytest.mark.parametrize("command", ["send", "connect"])
def test_objects_are_written_and_shown_as_json_or_refused(
    serve, penstock, directory, command, codec, arguments, output
):
    """Whatever a codec of the user's says its messages are, and whether it says so or not."""
    if command == "connect" and "--json" in arguments:
        pytest.skip("connect shows messages alone")
    (directory / "own.py").write_text(OBJECTS)
    address = serve("own:pair").address
    if command == "send":
        done = penstock("send", address, "--codec", f"own:{codec}", *arguments)
    else:
        done = penstock("connect", address, "--codec", f"own:{codec}", *arguments[:-1], data=arguments[-1] + "\n")
        output = output.replace("message 1:", "line 1 of the input:") if isinstance(output, str) else output

    if isinstance(output, str) and not output.endswith("\n"):
        assert (2, True) == (done.returncode, done.stderr.startswith(f"penstock: error: {output}")), done.stderr
    else:
        shown = done.stdout if isinstance(output, str) else json.loads(done.stdout)["reply"]
        assert (0, output, "") == (done.returncode, shown, done.stderr)


def test_a_port_that_speaks_tls_may_be_one(serve, penstock):
    """Plain text at a port of TLS: the peer ends without a word, as one that speaks TLS does."""
    pytest.importorskip("trustme")
    from penstock.testing.certificates import server_certificate

    address = serve("hello", "--tls-cert", server_certificate(), bind="tls://127.0.0.1:0").address
    done = penstock("send", address.replace("tls://", "tcp://"), "--codec", "lines", "hello")

    assert (1, "") == (done.returncode, done.stdout)
    assert (
        f"  it said nothing: its log may say why; a port that speaks TLS ends so, too: {address}"
        == (done.stderr.splitlines()[1])
    )


def test_an_alert_of_tls_is_told_by_its_size(penstock):
    """What most servers of TLS answer to plain text: a record of seven bytes, and the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def alert():
            with listener.accept()[0] as peer:
                peer.recv(100)
                peer.sendall(bytes.fromhex("15030300020250"))

        thread = threading.Thread(target=alert)
        thread.start()
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        done = penstock("send", address, "--codec", "netstring", "hello")
        thread.join()

    assert 5 == done.returncode
    assert f"may speak that: {address.replace('tcp', 'tls')}" in done.stderr
