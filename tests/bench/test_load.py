"""The load generator: what it counts, and that no wrong byte, no missing byte and no extra byte gets past it."""

import json
import random
import socket
import subprocess
import threading

import pytest

STALL = ("--stall-s", "0.3")


def lines_with(reply):
    """Return a server that answers the n-th line of a connection with ``reply(line, n)``."""

    def serve(connection, _number):
        with connection.makefile("rb") as lines:
            for n, line in enumerate(lines):
                connection.sendall(reply(line, n))

    return serve


echo_lines = lines_with(lambda line, n: line)


def echo_raw(connection, _number):
    while data := connection.recv(65536):
        connection.sendall(data)


def echo_resp(connection, _number):
    with connection.makefile("rb") as stream:
        while stream.readline() == b"*2\r\n":
            assert (b"$4\r\n", b"ECHO\r\n") == (stream.readline(), stream.readline())
            header = stream.readline()
            connection.sendall(header + stream.read(int(header[1:]) + 2))


@pytest.mark.parametrize(
    ("framing", "serve", "overhead"),
    [("lines", echo_lines, 1), ("raw", echo_raw, 0), ("length-prefixed", echo_raw, 4), ("resp", echo_resp, 9)],
)
@pytest.mark.parametrize(("connections", "depth", "size"), [(1, 1, 31), (3, 5, 10), (2, 4, 70_000)])
def test_a_faithful_echo_is_counted_to_the_byte(load, threaded, framing, serve, overhead, connections, depth, size):
    """Every message asked for is sent once, comes back once, and has one latency."""
    if framing == "resp":
        overhead = len(f"${size}\r\n\r\n")
    outcome = load(
        threaded(serve).port,
        *("--framing", framing, "--connections", connections, "--depth", depth, "--size", size),
        *("--messages", 100, "--warmup-messages", 10),
    )

    assert 0 == outcome.status
    assert 100 == outcome.result["messages"]
    assert 100 == outcome.result["latency_ns"]["count"]
    assert 100 * (size + overhead) == outcome.result["bytes"]


def test_it_speaks_over_a_unix_socket(load, threaded, tmp_path):
    """A path in place of a port."""
    threaded(echo_lines, tmp_path / "s")

    assert 20 == load(tmp_path / "s", "--connections", 2, "--messages", 20).result["messages"]


@pytest.mark.parametrize("mode", ["echo", "connect", "fairness"])
def test_a_wrong_byte_is_found(load, threaded, mode):
    """One bit of one byte of one reply is enough."""
    flip = lines_with(lambda line, n: bytes([line[0] ^ 1]) + line[1:] if n == (3 if mode != "connect" else 0) else line)
    outcome = load(threaded(flip).port, "--mode", mode, "--connections", 2, "--messages", 100)

    assert (1, "wrong-byte") == (outcome.status, outcome.error)


def test_the_wrong_byte_is_named(load, threaded):
    """Its place in the stream of the connection, what it should be, what it is."""
    zero = lines_with(lambda line, n: b"\x00" + line[1:] if n == 2 else line)
    outcome = load(threaded(zero).port, "--connections", 1, "--size", 9, "--messages", 5)

    assert "connection 0, byte 20: expected 0x30, got 0x00" == outcome.result["detail"]


@pytest.mark.parametrize("mode", ["echo", "connect", "fairness"])
def test_a_missing_byte_is_found(load, threaded, mode):
    """A reply without its last byte: at one message in flight nothing follows, and silence is the sign."""
    cut = lines_with(lambda line, n: line[:-1])
    outcome = load(threaded(cut).port, "--mode", mode, "--connections", 1, "--messages", 10, *STALL)

    assert 1 == outcome.status
    # The firehose does not fall silent: its next message stands where the byte should be.
    assert ("wrong-byte" if mode == "fairness" else "missing-bytes") == outcome.error


def test_a_missing_byte_shows_as_a_wrong_one_where_more_follows(load, threaded):
    """Several in flight: the next message stands where the byte should be."""
    cut = lines_with(lambda line, n: line[:-1] if n == 1 else line)
    outcome = load(threaded(cut).port, "--connections", 1, "--depth", 8, "--messages", 100)

    assert "wrong-byte" == outcome.error


@pytest.mark.parametrize("messages", [1, 61, 62, 200])
def test_a_missing_message_is_found(load, threaded, messages):
    """Also the last one, and also where the period of the contents is complete."""
    drop = lines_with(lambda line, n: b"" if n == messages - 1 else line)
    outcome = load(threaded(drop).port, "--connections", 1, "--messages", messages, *STALL)

    assert "missing-bytes" == outcome.error


@pytest.mark.parametrize("mode", ["echo", "connect", "fairness"])
def test_a_connection_that_ends_early_is_found(load, threaded, mode):
    """The server closes before it has answered: by EOF or, with input unread, by a reset."""

    def leave(connection, _number):
        connection.recv(1)

    outcome = load(threaded(leave).port, "--mode", mode, "--connections", 1, "--messages", 10)

    assert outcome.error in ("missing-bytes", "reset")


def test_a_connection_can_be_all_there_is(load, threaded):
    """Accept mode sends nothing, expects nothing, and awaits the end of each connection."""
    outcome = load(threaded(echo_lines).port, "--mode", "accept", "--connections", 3, "--messages", 50)

    assert (0, 50, 0) == (outcome.status, outcome.result["messages"], outcome.result["bytes"])


def test_a_byte_nobody_asked_for_is_found_without_any_message(load, threaded):
    """A greeting is a byte too many."""
    outcome = load(threaded(lambda connection, _: connection.sendall(b"!")).port, "--mode", "accept", "--messages", 9)

    assert "extra-bytes" == outcome.error


@pytest.mark.parametrize("mode", ["echo", "connect"])
def test_an_extra_byte_is_found(load, threaded, mode):
    """A byte more than was owed, at one message in flight."""
    more = lines_with(lambda line, n: line + b"!")
    outcome = load(threaded(more).port, "--mode", mode, "--connections", 1, "--messages", 10)

    assert (1, "extra-bytes") == (outcome.status, outcome.error)


@pytest.mark.parametrize("mode", ["echo", "connect"])
def test_an_extra_byte_after_the_last_reply_is_found(load, threaded, mode):
    """Nothing may come between our EOF and the server's."""

    def parting_word(connection, number):
        echo_lines(connection, number)
        connection.sendall(b"!")

    outcome = load(threaded(parting_word).port, "--mode", mode, "--connections", 1, "--messages", 10)

    assert "extra-bytes" == outcome.error


@pytest.mark.parametrize("depth", [1, 8])
def test_a_doubled_message_is_found(load, threaded, depth):
    """It is extra at one in flight, and stands in the next one's place at several."""
    twice = lines_with(lambda line, n: line * 2 if n == 1 else line)
    outcome = load(threaded(twice).port, "--connections", 1, "--depth", depth, "--messages", 100)

    assert outcome.error == ("extra-bytes" if depth == 1 else "wrong-byte")


def test_swapped_messages_are_found(load, threaded):
    """Two replies of one connection, each right, in the wrong order."""

    def swap(connection, _number):
        with connection.makefile("rb") as lines:
            first, second = lines.readline(), lines.readline()
            connection.sendall(second + first)
            lines.read()

    outcome = load(threaded(swap).port, "--connections", 1, "--depth", 2, "--messages", 2)

    assert "wrong-byte" == outcome.error


def test_a_reply_on_the_wrong_connection_is_found(load, threaded):
    """Two connections get each other's reply: no two connections send the same bytes."""
    met = threading.Barrier(2, timeout=20)
    said = {}

    def cross(connection, number):
        with connection.makefile("rb") as lines:
            said[number] = lines.readline()
            met.wait()
            connection.sendall(said[1 - number])
            lines.read()

    outcome = load(threaded(cross).port, "--connections", 2, "--messages", 2)

    assert "wrong-byte" == outcome.error


def test_a_server_that_keeps_its_end_open_is_found(load, threaded):
    """Every connection must be answered with EOF after ours."""
    over = threading.Event()

    def stay(connection, number):
        echo_lines(connection, number)
        over.wait(20)

    outcome = load(threaded(stay).port, "--connections", 1, "--messages", 3, *STALL)
    over.set()

    assert "not-closed" == outcome.error


def test_nothing_listening_is_an_error_of_its_own(load):
    """A port that is taken, and does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        outcome = load(bound.getsockname()[1], "--connections", 1)

    assert "connect" == outcome.error


def test_each_exchange_of_connect_mode_is_a_connection_of_its_own(load, threaded):
    """As many connections as messages, and one line on each."""
    counts = []

    def count(connection, _number):
        with connection.makefile("rb") as lines:
            received = [line for line in lines if connection.sendall(line) is None]
        counts.append(len(received))

    server = threaded(count)
    outcome = load(server.port, "--mode", "connect", "--connections", 3, "--messages", 30)

    assert 30 == outcome.result["messages"]
    for thread in server.threads[1:]:
        thread.join(20)
    assert [1] * 30 == counts


def test_the_firehose_is_counted_apart(load, threaded):
    """The others' messages are those whose latency is recorded."""
    outcome = load(threaded(echo_lines).port, "--mode", "fairness", "--connections", 3, "--messages", 50)

    assert (50, 50) == (outcome.result["messages"], outcome.result["latency_ns"]["count"])
    assert outcome.result["firehose_messages"] > 0
    assert outcome.result["bytes"] == 32 * (50 + outcome.result["firehose_messages"])


def test_idle_connections_are_opened_held_and_closed_at_a_word(load_program, threaded):
    """Each has exchanged one line before it counts as held."""
    seen = []

    def serve(connection, number):
        with connection.makefile("rb") as lines:
            for line in lines:
                seen.append(number)
                connection.sendall(line)

    argv = [str(load_program), "--mode", "idle", "--connections", "9", "--port", str(threaded(serve).port)]
    done = subprocess.run(argv, input="open 4\nopen 9\nclose\n", capture_output=True, text=True, timeout=20)

    assert [{"held": 4}, {"held": 9}, {"held": 0}] == [json.loads(line) for line in done.stdout.splitlines()]
    assert list(range(9)) == sorted(seen)


def test_the_window_begins_and_ends_at_a_word(load_program, threaded):
    """Between 'window' and 'end' lies all that is counted; nothing is in flight at either."""
    seen = []

    def count(connection, _number):
        with connection.makefile("rb") as lines:
            for line in lines:
                seen.append(line)
                connection.sendall(line)

    argv = [str(load_program), "--sync", "--connections", "2", "--messages", "10", "--warmup-messages", "7"]
    argv += ["--port", str(threaded(count).port)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        marks = []
        for _ in range(2):
            marks.append((process.stdout.readline(), len(seen)))
            process.stdin.write("\n")
            process.stdin.flush()
        result = json.loads(process.stdout.readline())

    assert [("window\n", 7), ("end\n", 17)] == marks
    assert 10 == result["messages"]


def test_percentiles_are_right_to_three_digits(load_program):
    """At most one part in a thousand over the exact one, never under it, from ns to hours."""
    chance = random.Random(1)
    values = sorted(int(10 ** chance.uniform(0, 13)) for _ in range(20_000))
    argv = [str(load_program), "--mode", "histogram"]
    text = "\n".join(map(str, values))
    told = json.loads(subprocess.run(argv, input=text, capture_output=True, text=True, timeout=20).stdout)

    assert (len(values), values[-1]) == (told["count"], told["max"])
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
        exact = values[round(len(values) * share) - 1]
        assert exact <= told[name] <= exact * 1.001 + 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--port", "0"],
        ["--port", "65536"],
        ["--port", "x"],
        ["--port", "1", "--unix", "/x"],
        ["--unix", "/" + "x" * 200],
        ["--port", "1", "--host", "localhost"],
        ["--port", "1", "--depth", "0"],
        ["--port", "1", "--size", "-1"],
        ["--port", "1", "--seconds", "x"],
        ["--port", "1", "--framing", "netstring"],
        ["--port", "1", "more"],
    ],
)
def test_a_wrong_option_is_refused(load_program, arguments):
    """Status 2 and a usage text, before anything is connected."""
    done = subprocess.run([str(load_program), *arguments], capture_output=True, text=True, timeout=20)

    assert 2 == done.returncode
    assert "usage: load" in done.stderr
