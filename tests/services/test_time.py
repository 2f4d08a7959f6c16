"""Time: ``[ctime] message``."""

import time

NOON = 1_795_259_213.0  # Sat Nov 21 2026 in the west of Greenwich; whatever the machine's zone makes of it
STAMP = time.ctime(NOON).encode()


def test_streams(run, stream, model):
    """Each line is answered, whatever its end, and the last one although it has none."""
    with run("time", stream, model=model, clock=lambda: NOON) as server:
        answer = server.once(b"hello\nworld\r\n\nno end")

    assert b"".join(b"[%s] %s\n" % (STAMP, line) for line in (b"hello", b"world", b"", b"no end")) == answer


def test_a_connection_for_each_line(run, stream, model):
    """A client that connects anew for each line is served each time."""
    with run("time", stream, model=model, clock=lambda: NOON) as server:
        for line in (b"1", b"2", b"3"):
            assert b"[%s] %s\n" % (STAMP, line) == server.once(line + b"\n")


def test_records_and_datagrams(run, datagram, model):
    """Each is answered by one, without a line's end of its own."""
    with run("time", datagram, model=model, clock=lambda: NOON) as server, server.peer() as peer:
        for message in (b"hello", b"hello\n"):
            peer.say(message)
            assert b"[%s] %s" % (STAMP, message) == peer.hear()


def test_records(run, model):
    """A record is a message."""
    with run("time", "seqpacket", model=model, clock=lambda: NOON) as server, server.peer() as peer:
        peer.say(b"hello")

        assert b"[%s] hello" % STAMP == peer.hear()


def test_the_time_is_the_servers(run):
    """Without a clock of the test's the stamp lies between two looks at the machine's."""
    with run("time", "tcp4") as server:
        before = int(time.time())
        answer = server.once(b"x\n")
        stamp = time.mktime(time.strptime(answer[1:25].decode()))

    assert before <= stamp <= time.time()
