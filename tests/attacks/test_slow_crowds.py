"""T-35 and T-37 at full size, on the real clock. The server, its attackers and its users have a process each."""

import re
import statistics
import time

import pytest

from penstock.testing.peers import PATIENCE_S

SLOW, BUSY, SUBSCRIBERS = 5000, 50, 1000
ROUNDS, SLICE_S, ATTEMPTS = 12, 0.2, 3
MESSAGE_S = 15
KIB, MIB = 1024, 1024**2

# Connects them all and sends a first byte of each. For every line that comes it sends for a slice of time, so fast that
# with as long a pause it is one byte each 5 s; for the line "wait" it waits for their ends, and says when the first and
# the last of them came, counted from its own first byte each.
SLOWLORIS = """
import select, socket, sys, time
port, count, slice_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
clock, poll, socks, began, ended = time.monotonic, select.epoll(), {}, {}, []
for _ in range(count):
    sock = socket.create_connection(("127.0.0.1", port))
    poll.register(sock, select.EPOLLIN)
    socks[sock.fileno()] = sock
    began[sock.fileno()] = clock()
    sock.send(b"x")
print(count, flush=True)
turn = iter(list(socks.values()) * 100)
for line in sys.stdin:
    if line == "wait\\n":
        while socks:
            for fd, _ in poll.poll():
                try:
                    data = socks[fd].recv(100)
                except ConnectionResetError:
                    data = b""
                assert data == b""
                ended.append(clock() - began[fd])
                socks.pop(fd).close()
        print(min(ended), flush=True)
        print(max(ended), flush=True)
        continue
    start, sent = clock(), 0
    while (now := clock() - start) < slice_s:
        while sent < now * count / 5 * 2:
            next(turn).send(b"x")
            sent += 1
        time.sleep(0.0005)  # until the next is due: the rate is what this program is for
    print(sent, flush=True)
"""

# Connects them all; reads what comes where that was asked for.
SUBSCRIBERS_PROGRAM = """
import select, socket, sys, threading
port, count, reads = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "reads"
poll, socks = select.epoll(), {}
for _ in range(count):
    sock = socket.socket()
    if not reads:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    socks[sock.fileno()] = sock
    if reads:
        poll.register(sock, select.EPOLLIN)
print(count, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), sys.stdout.flush(), __import__("os")._exit(0))).start()
buffer = bytearray(1 << 18)
while reads:
    for fd, _ in poll.poll():
        socks[fd].recv_into(buffer, 0, socket.MSG_TRUNC)  # the kernel forgets what came: no copy is made
"""

FEED = """
from collections import Counter
import penstock

members, reasons = set(), Counter()


class Feed(penstock.Handler):
    def on_connect(self, conn):
        members.add(conn)

    def on_close(self, conn, reason):
        members.discard(conn)
        reasons[str(reason)] += 1

    def on_message(self, conn, message):
        members.discard(conn)
        if message != b"who":
            for member in list(members):
                try:
                    member.post(message)
                except penstock.SlowPeerError:
                    pass
        return b"%d %s" % (len(members), repr(sorted(reasons.items())).encode())


feed = penstock.as_service(Feed, codec="lines:max=1MiB")
"""


def resident(server):
    """How much memory the server has, in bytes."""
    with open(f"/proc/{server.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.full
@pytest.mark.timeout(150)
@pytest.mark.engines("pure", "native")
def test_five_thousand_slow_peers_keep_fifty_busy_ones_from_nothing(start, tools, engine, figure):
    """T-35: a byte each 5 s; the busy ones' p99 is at most 1.2 times that without them, who go in time.

    In CPU time of the server; without them is another server's, in slices that take turns. How much comes together is
    chance: the lower quartile of the slices counts, and the best of three runs.
    """
    ratios = []
    while len(ratios) < ATTEMPTS and min(ratios, default=2.0) > 1.2:
        quiet = start("--codec", "lines")
        server = start("--codec", "lines", "--timeout-message", f"{MESSAGE_S}s", "--timeout-first-message", "none")
        before = resident(server)
        with (
            tools.Crowd(tools.BUSY_CLIENT, quiet.address[1], BUSY, SLICE_S, tools.cpu_clock(quiet.pid)) as others,
            tools.Crowd(tools.BUSY_CLIENT, server.address[1], BUSY, SLICE_S, tools.cpu_clock(server.pid)) as beside,
            tools.Crowd(SLOWLORIS, server.address[1], SLOW, SLICE_S) as slow,
        ):
            assert SLOW == slow.found()
            each_bytes = (resident(server) - before) / SLOW
            without, attacked, sent = [], [], []
            for _ in range(ROUNDS):
                others.begin()
                without.append(others.found())
                slow.begin()
                beside.begin()
                attacked.append(beside.found())
                sent.append(slow.found())
            slow.begin("wait")
            first_s, last_s = slow.found(), slow.found()
        quartiles = [statistics.quantiles(each, n=4)[0] for each in (without, attacked)]
        ratios.append(quartiles[1] / quartiles[0])
        assert [0, 0] == [quiet.end(), server.end()]
    figure(
        f"T-35 {engine.label}: {SLOW} slow peers, {sum(sent) / ROUNDS / SLICE_S:.0f} bytes/s, "
        f"{each_bytes / KIB:.1f} KiB each: p99 of {BUSY} busy ones {quartiles[1] * 1e3:.2f} ms of CPU, "
        f"without {quartiles[0] * 1e3:.2f} ms, x {ratios[-1]:.2f}; "
        f"the slow ones gone {first_s:.2f} to {last_s:.2f} s after their first byte"
    )

    assert MESSAGE_S - 1 <= first_s
    assert 8 * KIB >= each_bytes
    assert 1.2 >= ratios[-1]


PIECE = b"x" * 31_249 + b"\n"
A_SECOND = 32  # of them are a megabyte
HIGH, MOST = 32 * KIB, 128 * KIB
SPARE = 40 * KIB  # what buffers may be larger than what is in them, and the connection itself
FILLED = 64  # messages: from then on the kernels of those who do not read are full, and so are their buffers here


def publish(publisher, messages, clock):
    """Broadcast 1 MB/s at most; return what it took to post each message to all, by a clock, and the last answer."""
    began, latencies, answer = time.monotonic(), [], b""
    for number in range(messages):
        while time.monotonic() - began < number / A_SECOND:
            time.sleep(0.002)  # the next is not due yet: a megabyte a second, and no more
        sent = time.clock_gettime(clock)
        publisher.sendall(PIECE)
        answer = read_line(publisher)
        latencies.append(time.clock_gettime(clock) - sent)
    return latencies, answer


def read_line(sock):
    received = b""
    while not received.endswith(b"\n"):
        received += sock.recv(65536)
    return received


def until_alone(publisher):
    """Wait until the server has noticed that all others left; return its answer."""
    deadline = time.monotonic() + PATIENCE_S
    answer = b""
    while not answer.startswith(b"0 "):
        assert time.monotonic() < deadline, answer
        publisher.sendall(b"who\n")
        answer = read_line(publisher)
    return answer


def slow_consumers(answer):
    """How many were ended for that so far."""
    found = re.search(rb"'slow_consumer', (\d+)", answer)
    return int(found[1]) if found else 0


def p99_ms(latencies):
    """The 99th percentile: the lower quartile of those of each second, for what comes together is chance."""
    seconds = [sorted(latencies[at : at + A_SECOND]) for at in range(0, len(latencies) - A_SECOND + 1, A_SECOND)]
    return 1e3 * statistics.quantiles([each[len(each) * 99 // 100] for each in seconds], n=4)[0]


@pytest.mark.full
@pytest.mark.timeout(120)
@pytest.mark.engines("pure", "native")
@pytest.mark.parametrize(("policy", "seconds"), [("drop_oldest", 30), ("drop_newest", 7), ("disconnect", 7)])
def test_a_thousand_silent_subscribers_of_a_megabyte_a_second(start, tools, tmp_path, engine, policy, seconds, figure):
    """T-37: what they cost is bounded by their limits, and to publish costs as much as to as many who read.

    What is given up is copied once or twice, and what is read is copied once, by the kernel: the two are about as fast.
    """
    (tmp_path / "feed.py").write_text(FEED)
    nobody_is_late = [f"--timeout-{which}=none" for which in ("first-message", "idle", "write")] + [
        "--tcp-user-timeout=none"
    ]
    limits = [f"--write-high={HIGH}", f"--write-low={HIGH // 4}", f"--write-max={MOST}", f"--slow-consumer={policy}"]
    server = start(*nobody_is_late, *limits, target="feed:feed")
    publisher, clock = server.connect(), tools.cpu_clock(server.pid)
    with tools.Crowd(SUBSCRIBERS_PROGRAM, server.address[1], SUBSCRIBERS, "reads") as readers:
        assert SUBSCRIBERS == readers.found()
        usual = p99_ms(publish(publisher, 5 * A_SECOND, clock)[0])
    ended_before = slow_consumers(until_alone(publisher))
    with tools.Crowd(SUBSCRIBERS_PROGRAM, server.address[1], SUBSCRIBERS, "silent") as silent:
        assert SUBSCRIBERS == silent.found()
        before = resident(server)
        latencies, answer = publish(publisher, seconds * A_SECOND, clock)
        grown = resident(server) - before
    publisher.close()
    left, ended = int(answer.split()[0]), slow_consumers(answer) - ended_before
    silent_ms = p99_ms(latencies[FILLED:])
    figure(
        f"T-37 {engine.label} {policy}: {len(latencies)} messages, 1 MB/s at most, to {SUBSCRIBERS} who never read, "
        f"{MOST // KIB} KiB each: {grown / MIB:.0f} MiB more resident, {ended} ended; publishing takes "
        f"{silent_ms:.0f} ms of CPU (p99), {max(latencies[:FILLED]) * 1e3:.0f} ms at most while the kernels fill, "
        f"{usual:.0f} ms (p99) to as many who read"
    )

    assert SUBSCRIBERS * (MOST + SPARE) >= grown
    assert (SUBSCRIBERS if policy == "disconnect" else 0) == ended
    assert SUBSCRIBERS - ended == left
    assert 2.0 >= silent_ms / usual
