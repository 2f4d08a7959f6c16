"""The client without a loop."""

import errno
import socket
import struct
import threading

import pytest

import penstock
from penstock.client import ClientTimeouts, SocketOptions
from penstock.errors import ConfigurationError, Phase

from ..descriptors import none_left_open


def test_a_conversation(shout):
    """Send, receive, request, iteration, EOF: as the async one, and no loop runs in this thread."""
    with penstock.connect_sync(shout.address, codec="lines") as conn:
        conn.send(b"one")
        first = conn.receive()
        second = conn.request(b"two")
        conn.send(b"three")
        conn.send_eof()
        rest = list(conn)

    assert [b"ONE", b"TWO", [b"THREE"]] == [first, second, rest]


def test_a_file_object_reads_and_writes(serve):
    """makefile, as a socket has."""
    server = serve(penstock.on_message(codec="raw")(bytes.upper))
    with penstock.connect_sync(server.address, codec="raw") as conn, conn.makefile("rw", newline="\n") as file:
        file.write("hello\n")
        file.flush()
        line = file.readline()

    assert "HELLO\n" == line


@pytest.mark.parametrize("scheme", ["unix:", "unix+seqpacket:"])
def test_unix_sockets(serve, tmp_path, scheme):
    """Streams and records."""
    server = serve(penstock.on_message(codec="lines")(bytes.upper), bind=f"{scheme}{tmp_path}/s")
    with penstock.connect_sync(server.address, codec="lines") as conn:
        reply = conn.request(b"hello")

    assert b"HELLO" == reply


def test_a_zone_is_known_to_the_resolver_by_its_number(serve):
    """getaddrinfo(3) knows the name of an interface for link-local addresses alone."""
    server = serve(penstock.on_message(codec="lines")(bytes.upper), bind="tcp://[::1%lo]:0")
    with penstock.connect_sync(f"tcp://[::1%lo]:{server.port}") as conn:
        reply = conn.request(b"x")

    assert b"X" == reply


def test_a_name_whose_first_address_refuses(shout, monkeypatch):
    """The next one is tried at once."""
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [
            (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", shout.port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", shout.port)),
        ],
    )
    with penstock.connect_sync(f"tcp://host.example:{shout.port}") as conn:
        reply = conn.request(b"x")

    assert b"X" == reply


def test_a_dead_ipv6_path_is_left(shout, monkeypatch):
    """T-95: a full backlog answers no SYN; the next address is tried meanwhile, and nothing is left open."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=0) as hole:
        fillers = [socket.socket(socket.AF_INET6) for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *_, **__: [
                (socket.AF_INET6, socket.SOCK_STREAM, 0, "", hole.getsockname()),
                (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", shout.port)),
            ],
        )
        with none_left_open():
            with penstock.connect_sync(f"tcp://host.example:{shout.port}") as conn:
                reply = conn.request(b"x")
            shout.wait_connections(0)
        for filler in fillers:
            filler.close()

    assert b"X" == reply


def test_failures_have_the_same_fields():
    """Refused, not resolvable, no time left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(penstock.ConnectError) as refused:
            penstock.connect_sync(f"tcp://127.0.0.1:{port}")
    with pytest.raises(penstock.ConnectError) as unresolved:
        penstock.connect_sync("tcp://nobody.invalid:1")

    assert (errno.ECONNREFUSED, Phase.CONNECT) == (refused.value.errno, refused.value.phase)
    assert (socket.EAI_NONAME, Phase.RESOLVE) == (unresolved.value.errno, unresolved.value.phase)


def test_time_that_runs_out_says_in_which_phase():
    """Connecting to a full backlog, reading, and all of it together; nothing is left open."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        timeouts = ClientTimeouts(read_s=0.01, linger_s=0.01)
        with (
            penstock.connect_sync(address, timeouts=timeouts) as conn,
            pytest.raises(penstock.TimedOutError) as reading,
        ):
            conn.receive()
        timeouts = ClientTimeouts(total_s=0.01)
        with penstock.connect_sync(address, timeouts=timeouts) as conn, pytest.raises(penstock.TimedOutError) as whole:
            conn.receive()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as hole:
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        with pytest.raises(penstock.ConnectTimeoutError) as connecting:
            penstock.connect_sync(f"tcp://127.0.0.1:{hole.getsockname()[1]}", timeouts=ClientTimeouts(connect_s=0.01))
        for filler in fillers:
            filler.close()

    assert ["read", "total", "connect"] == [each.value.phase for each in (reading, whole, connecting)]


def test_a_peer_that_does_not_read_is_given_up():
    """After ``write_s``, with its phase."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        conn = penstock.connect_sync(address, codec="raw", timeouts=ClientTimeouts(write_s=0.02))
        with pytest.raises(penstock.SlowPeerError) as caught:
            while True:
                conn.send(b"x" * 100_000)
        reason = conn.wait_closed()

    assert ("write_timeout", "write", "write_timeout") == (caught.value.reason, caught.value.phase, reason)


def test_a_reset_has_the_systems_error():
    """As on the async side."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        conn = penstock.connect_sync(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        far, _ = server.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        with pytest.raises(penstock.BrokenError) as caught:
            conn.receive(20)

    assert ("reset", errno.ECONNRESET) == (caught.value.reason, caught.value.errno)


def test_threads_may_share_it(shout):
    """Frames never interleave."""
    with penstock.connect_sync(shout.address) as conn:
        threads = [
            threading.Thread(target=lambda: [conn.send(b"%d" % number * 100) for number in range(50)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        got = [conn.receive(20) for _ in range(200)]
        for thread in threads:
            thread.join()

    assert sorted([b"%d" % number * 100 for number in range(50)] * 4) == sorted(got)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET], ids=["stream", "seqpacket"])
def test_a_unix_server_that_is_behind_is_waited_for(tmp_path, kind):
    """A full backlog is EAGAIN and nothing under way: asked again until there is room, or until the deadline."""
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(f"{tmp_path}/s")
        server.listen(0)
        address = f"unix{'' if kind == socket.SOCK_STREAM else '+seqpacket'}:{tmp_path}/s"
        first = penstock.connect_sync(address)
        with none_left_open(), pytest.raises(penstock.ConnectTimeoutError) as caught:
            penstock.connect_sync(address, timeouts=ClientTimeouts(connect_s=0.02))
        made = []
        thread = threading.Thread(target=lambda: made.append(penstock.connect_sync(address)))
        thread.start()
        far = [server.accept()[0] for _ in range(2)]
        thread.join(20)
        made[0].send(b"hello")
        got = far[1].recv(100)
        for each in (first, *made):
            each.abort()
        for each in far:
            each.close()

    assert Phase.CONNECT == caught.value.phase
    assert b"hello" == got.rstrip()


def test_what_it_cannot_do_it_says(shout):
    """A source address of another family."""
    with pytest.raises(ConfigurationError, match="family"):
        penstock.connect_sync(shout.address, options=SocketOptions(local="[::1]"))
