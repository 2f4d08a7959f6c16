"""A load in this process: the loop in Python and the compiled one do the same, whatever the server does."""

import contextlib
import itertools
import resource
import socket
import struct
import threading

import pytest

from penstock.codecs import Lines
from penstock.errors import PenstockError
from penstock.load.pace import Pace
from penstock.load.run import Order, run_here

from ..descriptors import descriptors_left, none_left_open
from .conftest import DATAGRAMS, KINDS, echo, listener_of, load_of, run_load

RESET = struct.pack("ii", 1, 0)


class Own(Lines):
    """A codec that has no compiled framing."""


MESSAGES = {
    "raw": b"x" * 50,
    "lines": b"hello",
    "length-prefixed": b"x" * 3000,
    "resp": [b"GET", b"key"],
    "json-lines": {"a": [1, None]},
    Own(): b"own",
}


def name_of(codec):
    return codec if isinstance(codec, str) else "own"


def exchanged(engine, address, codec):
    """Run a hundred requests, and return what was counted, and what there should be."""
    load = load_of(address, codec, MESSAGES[codec])
    seen = run_load(engine, address, codec, MESSAGES[codec], connections=3, depth=7, count=100, expect_echo=True)
    size = 100 * len(load.frame)
    return (100, {}, size, size), (seen.latency.count, dict(seen.errors), seen.bytes_out, seen.bytes_in)


@pytest.mark.parametrize("codec", MESSAGES, ids=name_of)
@pytest.mark.parametrize("kind", KINDS)
def test_every_request_on_a_connection_has_its_reply(engine, peer, kind, codec):
    """As many as were asked for, each compared with what was sent, byte for byte."""
    expected, seen = exchanged(engine, peer(echo, kind), codec)

    assert expected == seen


def test_replies_are_read_while_requests_are_sent(engine, peer):
    """More on its way than kernel and echo hold: who only wrote would wait for ever for one who does likewise."""
    seen = run_load(
        engine, peer(echo, "unix"), "length-prefixed", b"x" * 10_000, depth=1000, count=1000, expect_echo=True
    )

    assert (1000, {}) == (seen.latency.count, dict(seen.errors))


@pytest.mark.parametrize("codec", MESSAGES, ids=name_of)
@pytest.mark.parametrize("kind", DATAGRAMS)
def test_every_datagram_has_its_reply(engine, datagrams, kind, codec):
    """One for each."""
    expected, seen = exchanged(engine, datagrams(lambda data: [data], kind), codec)

    assert expected == seen


@pytest.mark.parametrize("kind", DATAGRAMS)
def test_an_empty_datagram_is_a_request_too(engine, datagrams, kind):
    """And its reply a reply."""
    seen = run_load(engine, datagrams(lambda data: [data], kind), "raw", b"", count=9, depth=3, expect_echo=True)

    assert (9, {}) == (seen.latency.count, seen.errors)


@pytest.mark.parametrize("codec", ["lines", "length-prefixed", "json-lines", Own()], ids=name_of)
def test_where_replies_are_cut_does_not_matter(engine, peer, codec):
    """Byte by byte, with a reply that differs in between: each is found, and each that differs."""
    load = load_of("tcp://127.0.0.1:1", codec, "hello" if codec == "json-lines" else b"hello")
    other = load.codec.encode("other" if codec == "json-lines" else b"other")

    def handle(conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        frames = (other if number % 3 == 2 else load.frame for number in itertools.count())
        while data := conn.recv(4096):
            for frame in itertools.islice(frames, data.count(load.frame[-5:])):
                for byte in frame:
                    conn.sendall(bytes([byte]))

    seen = run_load(engine, peer(handle), codec, load.message, count=60, expect_echo=True)

    assert (60, {"reply is not what was sent": 20}) == (seen.latency.count, seen.errors)


def test_many_replies_that_all_differ_are_counted_one_by_one(engine, peer):
    """No reply is like the one before it, and they come by the thousand."""

    def handle(conn):
        number = 0
        while data := conn.recv(1 << 18):
            end = number + data.count(b"\n")
            conn.sendall(b"".join(b"%d\n" % each for each in range(number, end)))
            number = end

    for codec in ("lines", Own()):
        seen = run_load(engine, peer(handle), codec, b"x", depth=5000, count=20_000, expect_echo=True)

        assert (20_000, {"reply is not what was sent": 20_000}) == (seen.latency.count, seen.errors)


def test_of_bytes_without_bounds_a_reply_is_as_long_as_a_request(engine, peer):
    """Wherever they are cut; each that has a wrong byte is wrong."""

    def handle(conn):
        sent = b"0123456789" + b"0123x56789" + b"0123456789" + b"012345678y"
        while conn.recv(4096):
            for at in range(0, len(sent), 7):
                conn.sendall(sent[at : at + 7])

    seen = run_load(engine, peer(handle), "raw", b"0123456789", depth=4, count=4, expect_echo=True)

    assert (4, {"reply is not what was sent": 2}) == (seen.latency.count, seen.errors)


# -- what a server does wrong ------------------------------------------------------------------------------------------


def leave(conn):
    """Hear, and go."""
    conn.recv(4096)


def reset(conn):
    conn.recv(4096)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def babble(conn):
    while conn.recv(4096):
        conn.sendall(b"\xff\xff\xff\xff garbage\n")


def mute(conn):
    while conn.recv(4096):
        pass


@pytest.mark.parametrize(
    ("handle", "codec", "kind"),
    [
        (leave, "lines", "closed by the peer"),
        (reset, "lines", "ECONNRESET"),
        (babble, "length-prefixed", "protocol: "),
        (babble, "resp", "protocol: "),
        (babble, Own(max_frame_bytes=6), "protocol: "),
        (mute, "lines", "timeout"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_errors_are_counted_by_kind(engine, peer, handle, codec, kind):
    """Each request that was on its way is one, and the connection is replaced."""
    message = [b"x"] if codec == "resp" else b"x"
    timeout_s = 1.0 if handle is mute else 20.0  # where nobody is connected for so long, the run is over
    seen = run_load(engine, peer(handle), codec, message, depth=2, count=6, timeout_s=timeout_s)
    ((told, count),) = seen.errors.items()

    assert (0, 6, kind) == (seen.latency.count, count, told[: len(kind)])


def test_replies_that_came_before_a_bad_one_count(engine, peer):
    """What follows them ends the connection."""

    def handle(conn):
        while conn.recv(4096):
            conn.sendall(b"\0\0\0\1a\0\0\0\1b\xff\xff\xff\xff")

    seen = run_load(engine, peer(handle), "length-prefixed", b"x", depth=3, count=3)

    assert (2, 1) == (seen.latency.count, seen.errors.total())


def test_replies_to_nothing_are_errors(engine, peer):
    """Two to each request; the second one is not taken for the reply to the next request."""

    def handle(conn):
        while data := conn.recv(4096):
            conn.sendall(2 * data)

    seen = run_load(engine, peer(handle), count=1, depth=4)

    assert (1, {"reply to nothing": 1}) == (seen.latency.count, seen.errors)


@pytest.mark.parametrize("codec", ["lines", "raw", Own()], ids=name_of)
def test_a_server_that_never_stops_sending_does_not_keep_it(engine, peer, codec):
    """It ends with the time."""

    def handle(conn):
        while True:
            conn.sendall(b"hello\n" * 10_000)

    seen = run_load(engine, peer(handle), codec, b"hello\n"[: 6 if codec == "raw" else 5], duration_s=0.2)

    assert seen.errors["reply to nothing"] > 0


def test_a_server_that_closes_after_each_reply_is_loaded_to_the_end(engine, peer):
    """However long it takes: each time there was somebody. A request that follows the reply at once is lost."""

    def handle(conn):
        conn.sendall(conn.recv(4096))

    seen = run_load(engine, peer(handle), count=12, timeout_s=2.0)

    assert (6, 6) == (seen.latency.count, seen.errors.total())
    assert {"closed by the peer", "ECONNRESET", "EPIPE"} >= set(seen.errors)


def test_nobody_there_is_told(engine, reserve):
    """Every connection, every time."""
    seen = run_load(engine, f"tcp://127.0.0.1:{reserve()}", connections=2, timeout_s=0.2)

    assert (0, {"connect: ECONNREFUSED"}) == (seen.latency.count, set(seen.errors))
    assert seen.errors["connect: ECONNREFUSED"] >= 2


def test_a_load_on_itself_is_refused(engine, reserve):
    """A port that the system gives out may be given to the very socket that connects to it."""
    name = ("127.0.0.1", reserve())
    dialled = []

    def dial():
        dialled.append(socket.socket())
        dialled[-1].bind(name)
        dialled[-1].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            dialled[-1].connect(name)
        return dialled[-1]

    order = Order(load_of("tcp://{}:{}".format(*name), count=2, timeout_s=0.2), dial, engine, 0.05)
    seen = run_here(order, lambda seen: None)

    assert (0, {"connect: ECONNREFUSED"}) == (seen.latency.count, set(seen.errors))
    assert len(dialled) > 1


def test_a_server_that_dies_is_given_up(engine, tmp_path):
    """The rate is of the time in which requests were sent, not of that in which they were answered."""
    listener, address = listener_of("tcp", tmp_path)

    def serve():
        conn, _ = listener.accept()
        with conn, listener:
            for _ in range(20):
                conn.sendall(conn.recv(4096))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    seen = run_load(engine, address, duration_s=2.0, timeout_s=5.0)
    thread.join()

    assert 20 == seen.latency.count
    assert {"connect: ECONNREFUSED"} < set(seen.errors)
    assert seen.seconds >= 2.0


def test_a_full_backlog_of_a_unix_socket_is_waited_for(engine, tmp_path):
    """Those that never get in time out."""
    listener, address = listener_of("unix", tmp_path / "full", backlog=0)
    with listener:
        seen = run_load(engine, address, connections=4, count=1, timeout_s=0.2)

    assert seen.errors["connect: timeout"] >= 2
    assert {"connect: timeout", "timeout"} == set(seen.errors)


@pytest.mark.parametrize("accepting", [True, False])
def test_every_descriptor_is_given_back(engine, tmp_path, accepting):
    """Of connections that nobody serves, or that are refused, and of the loop itself."""
    listener, address = listener_of("tcp", tmp_path)
    if not accepting:
        listener.close()
    with listener, none_left_open():
        seen = run_load(engine, address, connections=5, count=5, timeout_s=0.2)

    assert seen.errors.total() >= 5


def test_without_a_descriptor_it_does_not_begin(engine, tmp_path):
    """What the system says, and not a traceback."""
    listener, address = listener_of("tcp", tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listener:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(PenstockError, match=r"^the load cannot begin: too many open files$"):
                run_load(engine, address)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_where_descriptors_run_out_those_without_one_are_errors(engine, peer, reserve):
    """And the others are loaded."""
    address = peer(echo)
    for each in (address, f"tcp://127.0.0.1:{reserve()}"):  # what is imported as it is needed is imported by now
        run_load(engine, each, count=1, timeout_s=1.0)
    with descriptors_left(12):
        seen = run_load(engine, address, connections=40, count=50, timeout_s=1.0)

    assert seen.errors["connect: EMFILE"] >= 28


# -- datagrams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DATAGRAMS)
def test_lost_datagrams_time_out(engine, datagrams, kind):
    """As many as were lost, and the others are replies."""
    numbers = itertools.count()
    address = datagrams(lambda data: [] if next(numbers) % 5 == 4 else [data], kind)
    seen = run_load(engine, address, "raw", b"x", depth=20, count=20, timeout_s=2.0)

    assert (16, {"timeout": 4}) == (seen.latency.count, seen.errors)


def test_datagrams_that_nobody_asked_for_are_errors(engine, datagrams):
    """Three to each."""
    seen = run_load(engine, datagrams(lambda data: [data] * 3), "raw", b"x", count=3, pace=Pace(5, 5))

    assert (3, {"reply to nothing"}) == (seen.latency.count, set(seen.errors))


def test_nobody_at_an_address_of_datagrams_is_told(engine, reserve):
    """As the system tells of it."""
    seen = run_load(engine, f"udp://127.0.0.1:{reserve()}", "raw", b"x", count=2, timeout_s=0.5)

    assert (0, {"ECONNREFUSED": 2}) == (seen.latency.count, seen.errors)


# -- time --------------------------------------------------------------------------------------------------------------


def counting(counter):
    """Echo, and count what came."""

    def handle(conn):
        while data := conn.recv(1 << 18):
            for _ in range(data.count(b"\n")):
                next(counter)
            conn.sendall(data)

    return handle


@pytest.mark.parametrize("pace", [None, Pace(300, 300)], ids=["closed", "open"])
def test_what_is_sent_in_the_warm_up_is_not_counted(engine, peer, pace):
    """Neither replies nor bytes."""
    counter = itertools.count()
    seen = run_load(engine, peer(counting(counter)), count=10, warmup_s=0.1, pace=pace)

    assert (10, {}) == (seen.latency.count, seen.errors)
    assert next(counter) > 10


@pytest.mark.parametrize(
    ("pace", "due"), [(Pace(200, 200), 60), (Pace(0, 400, 0.3), 60), (Pace(400, 0, 0.3), 60), (Pace(100, 300, 0.3), 60)]
)
def test_an_open_loop_sends_what_is_due_in_its_time(engine, peer, pace, due):
    """No more, no less, and all of it has two latencies."""
    seen = run_load(engine, peer(echo), connections=3, depth=20, duration_s=0.3, pace=pace)

    assert (due, due, {}) == (seen.latency.count, seen.corrected.count, seen.errors)


def test_a_stall_is_seen_by_all_requests_that_fall_into_it(engine, peer):
    """No coordinated omission: one request was on its way during the stall, but a hundred were due."""
    stalled = threading.Event()

    def handle(conn):
        while data := conn.recv(4096):
            if not stalled.is_set():
                stalled.set()
                threading.Event().wait(0.5)
            conn.sendall(data)

    seen = run_load(engine, peer(handle), pace=Pace(200, 200), count=120)
    slow = sum(count for seconds, count in seen.corrected.buckets() if seconds > 0.05)

    assert (120, {}) == (seen.latency.count, seen.errors)
    assert 1 == sum(count for seconds, count in seen.latency.buckets() if seconds > 0.4)
    assert slow >= 80


def test_it_rests_while_it_waits_for_the_last_reply(engine, peer):
    """A request that will never be due is not waited for."""

    def handle(conn):
        data = conn.recv(4096)
        threading.Event().wait(0.3)
        conn.sendall(data)

    seen = run_load(engine, peer(handle), pace=Pace(1000, 1000), count=1)

    assert (1, {}) == (seen.latency.count, seen.errors)
    assert seen.cpu_share < 0.5


def test_intervals_add_up(engine, peer):
    """Everything that came, came in one of them."""
    seen = run_load(engine, peer(echo), duration_s=0.32)

    assert seen.latency.count == sum(each.replies for each in seen.intervals)
    assert len(seen.intervals) > 1


def test_even_a_short_run_has_an_interval(engine, peer):
    """All that it was."""
    seen = run_load(engine, peer(echo), count=3)

    assert [3] == [each.replies for each in seen.intervals]


def test_an_interruption_keeps_what_was_seen(engine, peer):
    """And the connections are closed."""

    def interrupt(seen):
        raise KeyboardInterrupt

    seen = run_load(engine, peer(echo), duration_s=60.0, on_interval=interrupt)

    assert seen.interrupted
    assert seen.latency.count > 0


@pytest.mark.parametrize("expect_echo", [False, True])
def test_what_a_codec_raises_ends_the_run(engine, peer, expect_echo):
    """It is the codec's fault, and its error is not hidden."""

    class Broken(Own):
        def decode_many(self, data, limit):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_load(engine, peer(echo), Broken(), count=1, expect_echo=expect_echo)
