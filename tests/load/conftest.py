"""Peers of a load that do what they are told to, and both loops that load them."""

import contextlib
import gc
import socket
import threading

import pytest

from penstock.address import parse_address
from penstock.codecs import parse_codec
from penstock.errors import ConfigurationError
from penstock.load.load import Load
from penstock.load.run import Order, dialler, loop_of, run_here

KINDS = {"tcp": socket.SOCK_STREAM, "unix": socket.SOCK_STREAM, "unix+seqpacket": socket.SOCK_SEQPACKET}
DATAGRAMS = ("udp", "unix+dgram")


@pytest.fixture(params=["pure", "native"])
def engine(request):
    """Each loop: in Python, and compiled. Of the compiled one a debug build finds nothing left afterwards."""
    try:
        loop_of(request.param)
    except ConfigurationError:
        pytest.skip("the native engine is not built")
    if request.param == "pure":
        yield request.param
        return
    from penstock.engines.native.census import census

    gc.collect()
    before = census()
    yield request.param
    gc.collect()

    assert before == census()


def listener_of(kind, path, backlog=128):
    """Return a socket that listens, and its address."""
    if kind == "tcp":
        sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        return sock, "tcp://{}:{}".format(*sock.getsockname())
    sock = socket.socket(socket.AF_UNIX, KINDS[kind])
    sock.bind(str(path))
    sock.listen(backlog)
    return sock, f"{kind}:{path}"


@pytest.fixture
def peer(tmp_path):
    """A function that starts a server whose connections are handled, each in a thread, by a function."""
    with contextlib.ExitStack() as stack:

        def start(handle, kind="tcp"):
            listener, address = listener_of(kind, tmp_path / f"{len(list(tmp_path.iterdir()))}.sock")
            stack.enter_context(listener)
            threads = []

            def serve_one(conn):
                with conn, contextlib.suppress(OSError):
                    handle(conn)

            def run():
                with contextlib.suppress(OSError):
                    while True:
                        conn, _ = listener.accept()
                        threads.append(threading.Thread(target=serve_one, args=(conn,)))
                        threads[-1].start()

            accepting = threading.Thread(target=run)
            accepting.start()

            def stop():
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                accepting.join()
                for thread in threads:
                    thread.join()

            stack.callback(stop)
            return address

        yield start


@pytest.fixture
def datagrams(tmp_path):
    """A function that starts a server which answers each datagram with those that a function returns."""
    with contextlib.ExitStack() as stack:

        def start(answers, kind="udp"):
            sock = stack.enter_context(
                socket.socket(socket.AF_INET if kind == "udp" else socket.AF_UNIX, socket.SOCK_DGRAM)
            )
            sock.bind(("127.0.0.1", 0) if kind == "udp" else str(tmp_path / "d.sock"))
            name = sock.getsockname()

            def run():
                while (got := sock.recvfrom(1 << 18))[0] != b"stop":
                    for each in answers(got[0]):
                        with contextlib.suppress(OSError):
                            sock.sendto(each, got[1])

            thread = threading.Thread(target=run)
            thread.start()

            def stop():
                with socket.socket(sock.family, socket.SOCK_DGRAM) as other:
                    other.sendto(b"stop", name)
                thread.join()

            stack.callback(stop)
            return "udp://{}:{}".format(*name) if kind == "udp" else f"{kind}:{name}"

        yield start


def echo(conn):
    """Send back what comes."""
    while data := conn.recv(1 << 18):
        conn.sendall(data)


def load_of(address, codec="lines", message=b"hello", **asked):
    """Return a load: on one connection, unless there are to be more."""
    codec = parse_codec(codec) if isinstance(codec, str) else codec
    return Load(parse_address(address), codec, message, **{"connections": 1, **asked})


def order_of(engine, load):
    """Return how it is run."""
    address = load.address
    name = address.unix_name if address.is_unix else (address.host, address.port)
    return Order(load, dialler(address, name), engine, 0.05)


def run_load(engine, address, codec="lines", message=b"hello", on_interval=lambda seen: None, **asked):
    """Run a load in this process and return what it measured."""
    return run_here(order_of(engine, load_of(address, codec, message, **asked)), on_interval)
