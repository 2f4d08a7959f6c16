"""A connection as a file, used as any Python file is."""

import csv
import io
import json
import pickle
import shutil
import socket
import threading

import pytest

import penstock
from penstock.testing.peers import dial, read_to_end


def test_lines_are_iterated_and_printed(serve):
    """The oldest idiom there is: ``for line in file: print(…, file=file)``."""

    @penstock.on_connection
    def shout(conn):
        with conn.makefile("rw", encoding="utf-8") as file:
            for line in file:
                print(line.strip().upper(), file=file, flush=True)

    with serve(shout) as server, dial(server.address) as peer:
        peer.sendall("grüße\nπ\n".encode())
        peer.shutdown(socket.SHUT_WR)

        assert "GRÜSSE\nΠ\n".encode() == read_to_end(peer)


def test_what_was_not_flushed_is_sent_when_the_handler_returns(serve):
    """As with a file that goes out of scope, the buffer is written."""

    @penstock.on_connection
    def hello(conn):
        conn.makefile("w").write("no newline, no flush")

    with serve(hello) as server, dial(server.address) as peer:
        assert b"no newline, no flush" == read_to_end(peer)


def test_bytes_are_copied_by_the_standard_library(serve):
    """copyfileobj over both ends moves every byte."""
    payload = bytes(range(256)) * 4096

    @penstock.on_connection
    def echo(conn):
        with conn.makefile("rb") as source, conn.makefile("wb") as target:
            shutil.copyfileobj(source, target)

    with serve(echo) as server, dial(server.address) as peer:

        def send():
            peer.sendall(payload)
            peer.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        answer = read_to_end(peer)
        sender.join()

    assert payload == answer


def test_what_was_received_before_is_read_from_the_file(serve):
    """A greeting by codec, the rest by file: no byte is lost between them."""

    @penstock.on_connection(codec="lines")
    def mixed(conn):
        name = conn.receive()
        with conn.makefile("rb") as file:
            rest = file.read()
        conn.makefile("wb", buffering=0).write(name + b":" + rest)

    with serve(mixed) as server, dial(server.address) as peer:
        peer.sendall(b"name\nrest\nof it")
        peer.shutdown(socket.SHUT_WR)

        assert b"name:rest\nof it" == read_to_end(peer)


def test_readers_of_the_standard_library_work(pair):
    """csv, json and pickle read from it and write to it."""
    conn, far = pair()
    far.sendall(b"a,b\n" + b'{"x": 1}\n' + pickle.dumps([1, 2]))
    far.shutdown(socket.SHUT_WR)
    file = conn.makefile("rb")

    assert [["a", "b"]] == list(csv.reader([file.readline().decode()]))
    assert {"x": 1} == json.loads(file.readline())
    assert [1, 2] == pickle.load(file)
    assert b"" == file.read()
    out = conn.makefile("wb")
    pickle.dump({"y": 2}, out)
    out.flush()
    assert {"y": 2} == pickle.loads(far.recv(1000))


def test_a_file_says_what_it_can_do(pair):
    """readable, writable, fileno and closed, and what they forbid."""
    conn, _ = pair()
    reader, writer = conn.makefile("rb", buffering=0), conn.makefile("wb", buffering=0)

    assert (True, False, False, True) == (reader.readable(), reader.writable(), writer.readable(), writer.writable())
    assert conn.fileno() == reader.fileno()
    with pytest.raises(io.UnsupportedOperation):
        reader.write(b"x")
    with pytest.raises(io.UnsupportedOperation):
        writer.read(1)
    reader.close()
    with pytest.raises(ValueError, match="closed file"):
        reader.read(1)
    assert conn.close_reason is None


@pytest.mark.parametrize(("mode", "buffering"), [("a", None), ("", None), ("b", None), ("r+", None), ("r", 0)])
def test_a_mode_that_means_nothing_is_refused(pair, mode, buffering):
    """As the standard library does."""
    conn, _ = pair()

    with pytest.raises(ValueError, match=r"mode"):
        conn.makefile(mode, buffering)
