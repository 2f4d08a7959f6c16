"""A connected datagram socket as a connection, for threads."""

import errno
import socket
import threading

import pytest

import penstock
from penstock.client import ClientTimeouts
from penstock.errors import ConnectError, LocalProtocolError, Phase

from ..descriptors import none_left_open


@pytest.fixture
def far():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


def address(sock):
    return f"udp://127.0.0.1:{sock.getsockname()[1]}"


def test_one_datagram_is_one_message(far):
    """An empty one too; both ends' addresses are known, and nothing is left open."""
    with none_left_open(), penstock.connect_sync(address(far), codec="raw") as conn:
        conn.send(b"")
        data, name = far.recvfrom(100)
        far.sendto(b"", name)
        far.sendto(b"two", name)
        replies = [conn.receive(20), conn.receive(20)]
        local, peer = conn.local, conn.peer

    assert (b"", [b"", b"two"]) == (data, replies)
    assert f"udp://127.0.0.1:{name[1]}" == str(local)
    assert address(far) == f"udp://{peer}"
    assert (-1, "done") == (conn.fileno(), conn.close_reason)


def test_every_server_of_datagrams_answers(serve, tmp_path):
    """UDP and Unix datagrams, as on the async side."""
    service = penstock.on_message(codec="lines")(bytes.upper)
    replies = []
    for bind in ("udp://127.0.0.1:0", f"unix+dgram:{tmp_path}/s"):
        server = serve(service, bind=bind)
        with penstock.connect_sync(server.address, codec="lines") as conn:
            replies.append(conn.request(b"hello", 20))

    assert [b"HELLO"] * 2 == replies


def test_time_that_runs_out_leaves_it_usable_until_all_of_it_has(far):
    """``read_s`` is for one message, ``total_s`` for all."""
    with penstock.connect_sync(address(far), timeouts=ClientTimeouts(read_s=0.01)) as conn:
        with pytest.raises(penstock.TimedOutError) as reading:
            conn.receive()
        with pytest.raises(penstock.TimedOutError):
            conn.receive(0)
        conn.send(b"x")
        _, name = far.recvfrom(100)
        far.sendto(b"in time", name)
        reply = conn.receive(20)
    with (
        penstock.connect_sync(address(far), timeouts=ClientTimeouts(total_s=0.01)) as conn,
        pytest.raises(penstock.TimedOutError) as whole,
    ):
        conn.receive()

    assert (Phase.READ, b"in time", Phase.TOTAL) == (reading.value.phase, reply, whole.value.phase)


def test_a_port_where_nobody_listens_is_heard_of_and_does_not_end_it(reserve):
    """ECONNREFUSED is about one datagram; the next may find somebody."""
    port = reserve()
    with penstock.connect_sync(f"udp://127.0.0.1:{port}") as conn:
        conn.send(b"anybody?")
        with pytest.raises(penstock.BrokenError) as caught:
            conn.receive(20)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            far.bind(("127.0.0.1", port))
            far.settimeout(20)
            conn.send(b"anybody now?")
            data = far.recv(100)

    assert (errno.ECONNREFUSED, b"anybody now?") == (caught.value.errno, data)


def test_a_datagram_that_is_no_message_does_not_end_it(far):
    """The next one may be."""
    with penstock.connect_sync(address(far), codec="json-lines") as conn:
        conn.send(1)
        _, name = far.recvfrom(100)
        far.sendto(b"{nonsense", name)
        far.sendto(b"2", name)
        with pytest.raises(penstock.RemoteProtocolError):
            conn.receive(20)
        reply = conn.receive(20)

    assert 2 == reply


def test_closing_ends_what_another_thread_waits_for(far):
    """As with streams; and EOF is refused, for there is none."""
    with penstock.connect_sync(address(far)) as conn:
        waits = threading.Event()
        raised = []

        def receive():
            waits.set()
            with pytest.raises(penstock.ClosedError) as caught:
                conn.receive(20)
            raised.append(caught.value)

        thread = threading.Thread(target=receive)
        thread.start()
        waits.wait(20)
        with pytest.raises(LocalProtocolError):
            conn.send_eof()
        conn.close()
        thread.join(20)
        with pytest.raises(penstock.ClosedError):
            conn.send(b"x")

    assert 1 == len(raised)


def test_half_a_datagram_is_none(tmp_path):
    """T-85: what is longer than a datagram may be is an error of its own, and the next one is received whole."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as far:
        far.bind(f"{tmp_path}/s")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
        with penstock.connect_sync(f"unix+dgram:{tmp_path}/s", codec="raw") as conn:
            conn.send(b"who?")
            _, name = far.recvfrom(100)
            far.sendto(bytes(65_537), name)
            with pytest.raises(penstock.BrokenError) as caught:
                conn.receive(20)
            far.sendto(bytes(65_536), name)
            received = conn.receive(20)

    assert (errno.EMSGSIZE, bytes(65_536)) == (caught.value.errno, received)


def test_a_peer_that_does_not_read_is_waited_for(tmp_path):
    """A Unix datagram socket has room for a few: `send` waits for the next, `try_send` does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as far:
        far.bind(f"{tmp_path}/s")
        far.settimeout(20)
        with penstock.connect_sync(f"unix+dgram:{tmp_path}/s", codec="raw") as conn:
            sent = 0
            while conn.try_send(b"%d" % sent):
                sent += 1
            thread = threading.Thread(target=conn.send, args=(b"%d" % sent,))
            thread.start()
            got = [far.recv(100) for _ in range(sent + 1)]
            thread.join(20)

    assert [b"%d" % number for number in range(sent + 1)] == got


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_icmp_echo(host):
    """What is sent comes back."""
    try:
        conn = penstock.connect_sync(f"raw+icmp://{host}", codec="raw")
    except ConnectError as error:
        if error.errno not in (errno.EPERM, errno.EACCES):
            raise
        pytest.skip("this process may not speak ICMP")
    with conn:
        replies = [conn.request(payload, 20) for payload in (b"", b"odd")]

    assert [b"", b"odd"] == replies
