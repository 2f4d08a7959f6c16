"""Plain sockets as peers."""

import contextlib
import select
import socket
import threading

import pytest

from penstock.testing.peers import connect, dial, read_exactly, read_to_end, reset


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def address_of(listener):
    return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def test_dial_connects_with_patience(listener):
    """A blocking socket that gives up some time."""
    with dial(address_of(listener)) as sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.gettimeout()


def test_a_wildcard_is_dialled_at_the_loopback_address():
    """Nobody can connect to a wildcard."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        with dial(f"tcp://0.0.0.0:{listener.getsockname()[1]}") as sock:
            assert "127.0.0.1" == sock.getpeername()[0]


def test_a_refusal_leaves_nothing_open(listener):
    """The error comes through; -W error would complain of a socket that was left."""
    address = address_of(listener)
    listener.close()

    with pytest.raises(ConnectionRefusedError):
        dial(address)


def test_a_reset_that_is_faster_than_the_connect_is_met_by_the_next_call(listener):
    """Never by the connect itself, whichever side the system lets run first."""

    def reset_each():
        with contextlib.suppress(OSError):
            while True:
                reset(listener.accept()[0])

    thread = threading.Thread(target=reset_each)
    thread.start()
    try:
        for _ in range(500):  # a plain connect met about half of them
            with dial(address_of(listener)) as sock, pytest.raises(ConnectionResetError):
                sock.recv(1)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_connect_has_the_timeout_of_its_socket():
    """And leaves it as it was; a listener whose backlog is full answers nobody."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        fillers = [stack.enter_context(socket.socket()) for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        assert select.select([listener], [], [], 20)[0]  # the one place is taken
        late = stack.enter_context(socket.socket())
        late.settimeout(0.01)
        with pytest.raises(TimeoutError):
            connect(late, listener.getsockname())

        assert 0.01 == late.gettimeout()


def test_a_unix_datagram_socket_can_be_answered(tmp_path):
    """It has a name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"{tmp_path}/s")
        with dial(f"unix+dgram://{tmp_path}/s") as sock:
            sock.send(b"hello")
            message, name = server.recvfrom(100)
            server.sendto(b"answer", name)

            assert (b"hello", b"answer") == (message, sock.recv(100))


def test_reading_to_the_end_and_exactly(listener):
    """So many bytes, or all there are until EOF."""
    with dial(address_of(listener)) as sock:
        server, _ = listener.accept()
        with server:
            server.sendall(b"one two three")
        assert b"one" == read_exactly(sock, 3)
        assert b" two three" == read_to_end(sock)
        assert b"" == read_exactly(sock, 3)


def test_a_reset_is_one(listener):
    """The other end sees it as such."""
    sock = dial(address_of(listener))
    server, _ = listener.accept()
    with server:
        reset(sock)

        with pytest.raises(ConnectionResetError):
            server.recv(1)
