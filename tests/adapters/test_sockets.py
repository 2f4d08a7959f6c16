"""A connection as a blocking socket is like one of the kernel: each script is run with both, and finds the same."""

import array
import errno
import io
import os
import select
import socket
import ssl
import threading
from contextlib import closing, suppress

import pytest

from penstock.adapters import service_of
from penstock.adapters import sockets as adapted
from penstock.errors import ClosedError
from penstock.testing.peers import read_exactly, read_to_end

pytestmark = pytest.mark.engines("blocking")  # as of every handler with a thread of its own


def outcome(function, *args, **options):
    """What a call returns, or what it raises as far as programs look at it."""
    try:
        return function(*args, **options)
    except TimeoutError:
        return TimeoutError
    except ValueError as error:  # io.UnsupportedOperation is an OSError without a number, too
        return type(error), str(error)
    except OSError as error:
        return OSError, errno.errorcode.get(error.errno, str(error))
    except TypeError:
        return TypeError


def reads_into(sock):
    """What came goes into buffers of any shape, and into none that is too small."""
    small, words = bytearray(2), array.array("H", [0, 0])
    yield outcome(sock.recv_into, small, 3)
    yield outcome(sock.recv_into, small, -1)
    yield outcome(sock.recv, -1)
    yield sock.recv_into(small), bytes(small)
    yield sock.recv_into(words, 3), words.tobytes()
    yield sock.recv_into(small, 1, socket.MSG_PEEK), bytes(small)
    yield outcome(sock.recv_into, b"immutable")
    yield sock.recv_into(bytearray(0))


def reads_with_a_sender(sock):
    """A stream names no sender, and has no ancillary data."""
    first, second = bytearray(1), bytearray(2)
    yield sock.recvfrom(1)
    yield sock.recvfrom_into(first), bytes(first)
    yield outcome(sock.recvfrom_into, first, 2)
    yield sock.recvmsg(1)
    yield sock.recvmsg(1, 0, socket.MSG_PEEK)
    yield outcome(sock.recvmsg, -1)
    yield sock.recvmsg_into([first, second]), bytes(first + second)
    yield sock.recvmsg_into([])


def writes(sock):
    """Bytes of any kind, one piece or several."""
    yield sock.send(b"")
    yield sock.send(array.array("H", [0x4142]))
    yield sock.sendall(memoryview(b"cd")[::1])
    yield sock.sendmsg([b"e", bytearray(b"f"), memoryview(b"g")])
    yield sock.sendmsg([])
    yield sock.send(b"h", socket.MSG_NOSIGNAL)
    yield sock.sendmsg([b"i"], [], socket.MSG_NOSIGNAL, None)
    yield sock.sendall(b"j", socket.MSG_MORE)
    yield outcome(sock.sendall, "text")


def sends_files(sock):
    """From where it is told, and the file stands behind what was sent; text, and a count of nothing, are refused."""
    path = os.fspath(sock.scratch)
    with open(path, "wb") as file:
        file.write(b"0123456789")
    with open(path, "rb") as file:
        file.seek(5)
        yield sock.sendfile(file), file.tell()
        yield sock.sendfile(file, 8), file.tell()
        yield sock.sendfile(file, 2, 3), file.tell()
        yield outcome(sock.sendfile, file, 0, 0)
    memory = io.BytesIO(b"memory")
    memory.seek(3)
    yield sock.sendfile(memory), memory.tell()
    yield sock.sendfile(memory, 1, 2), memory.tell()
    with open(path, encoding="ascii") as file:
        yield outcome(sock.sendfile, file)
    sock.setblocking(False)
    with open(path, "rb") as file:
        yield outcome(sock.sendfile, file)


def closes_under_a_file(sock):
    """The socket goes on until its files are closed, too."""
    file = sock.makefile("rw", newline="\n")
    sock.close()
    yield sock.fileno() >= 0
    yield sock.recv(1)
    yield sock.getpeername() == sock.getpeername()
    yield file.read(3)
    file.write("still here")
    file.close()
    yield outcome(file.read)
    yield sock.fileno()
    yield outcome(sock.recv, 1)
    yield outcome(sock.sendall, b"x")
    yield outcome(sock.shutdown, socket.SHUT_WR)
    yield outcome(sock.getsockname)
    yield outcome(sock.getpeername)
    yield outcome(sock.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE)
    yield sock.close()


def gives_up_under_a_file(sock):
    """A file whose read timed out may have lost a part of a line: it reads no more."""
    file = sock.makefile("rb")
    yield file.read(8)
    sock.settimeout(0.01)
    yield outcome(file.readline)
    yield outcome(file.readline)
    sock.setblocking(False)
    with sock.makefile("rb", 0) as raw:
        yield raw.readable(), raw.writable(), raw.seekable(), raw.mode
        yield raw.read(1)
        yield outcome(raw.write, b"x")
    yield outcome(raw.readinto, bytearray(1))
    with sock.makefile("wb", 0) as raw:
        yield outcome(raw.readinto, bytearray(1))
        yield raw.write(b"x"), raw.mode
    yield outcome(sock.makefile, "a")
    yield outcome(sock.makefile, "r", 0)


def ends_a_direction(sock):
    """What came before is read first; ending twice is no error."""
    yield sock.recv(2)
    yield sock.shutdown(socket.SHUT_RD)
    yield sock.recv(2)
    yield sock.recv(20)
    yield sock.recv(20)
    yield sock.send(b"x")
    yield sock.shutdown(socket.SHUT_WR)
    yield sock.shutdown(socket.SHUT_WR)
    yield sock.shutdown(socket.SHUT_RDWR)
    yield outcome(sock.send, b"x")
    yield outcome(sock.shutdown, 7)


def says_what_it_is(sock):
    """Family and kind; what waits how long."""
    yield sock.family, sock.type
    yield sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    yield sock.gettimeout(), sock.timeout, sock.getblocking()
    yield outcome(sock.settimeout, -1)
    yield outcome(sock.settimeout, "soon")
    sock.settimeout(2)
    yield sock.gettimeout(), sock.timeout, sock.getblocking()
    sock.setblocking(False)
    yield sock.gettimeout(), sock.timeout, sock.getblocking()
    yield sock.get_inheritable()
    sock.setblocking(True)
    yield sock.fileno() >= 0
    with sock:
        yield sock.recv(8)
        yield select.select([], [sock], [], 20) == ([], [sock], [])
    yield outcome(sock.recv, 1)


SCRIPTS = [
    reads_into,
    reads_with_a_sender,
    writes,
    sends_files,
    closes_under_a_file,
    gives_up_under_a_file,
    ends_a_direction,
    says_what_it_is,
]


class Scripted:
    """A socket with a file to use; everything else is the socket's."""

    def __init__(self, sock, scratch):
        self._sock = sock
        self.scratch = scratch

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def __enter__(self):
        return self._sock.__enter__()

    def __exit__(self, *exc_info):
        return self._sock.__exit__(*exc_info)


def run(script, sock, scratch, found, done):
    """Run a script once what the peer sends is there."""
    try:
        sock.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL)
        found.extend(script(Scripted(sock, scratch)))
    except Exception as error:  # found instead of what should be
        found.append(error)
        raise
    finally:
        with suppress(OSError):
            sock.recv(8, socket.MSG_DONTWAIT)  # unread input would make a reset of the kernel's close
        sock.close()
        done.set()


def visited(peer, done):
    """Send what each script reads; return what it wrote. The peer ends its direction when the script is done."""
    with peer:
        peer.settimeout(20)
        peer.sendall(b"abcdefgh")
        sent = read_to_end(peer, stays=True)
        assert done.wait(20)
    return sent


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_a_script_finds_what_a_socket_of_the_kernel_has(serve, engine, script, tmp_path):
    """Every value, every error, and every byte that is sent."""
    expected, found, done, also_done = [], [], threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        sock, _ = listener.accept()
        serving = threading.Thread(target=run, args=(script, sock, tmp_path / "file", expected, done), daemon=True)
        serving.start()
        sent = visited(peer, done)
        serving.join()

    def handle(socket, address):
        run(script, socket, tmp_path / "file", found, also_done)

    with serve(service_of(handle, kind="socket")) as server:
        assert sent == visited(server.dial(), also_done)
        assert 1 == len(list(server.reasons(1)))

    assert expected == found


@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_what_would_take_the_descriptor_is_refused_and_takes_nothing(serve, engine):
    """`ssl` makes an object of the number before it asks for it: when that object goes, the connection stays."""
    refused = []

    def handle(socket, address):
        socket.recv(1)
        for take in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket, lambda sock, **_: sock.dup()):
            with pytest.raises(OSError, match="penstock") as caught:
                take(socket, server_side=True)
            refused.append(caught.value.errno)
            del caught
        socket.sendall(b"still here")

    with serve(service_of(handle, kind="socket")) as server, server.dial() as peer:
        peer.sendall(b"x")
        assert b"still here" == read_to_end(peer)

    assert [errno.EOPNOTSUPP] * 2 == refused


def test_a_descriptor_that_was_asked_for_goes_with_its_socket(serve, engine):
    """It is the connection's under another number: what closes that by mistake closes neither this nor another one."""
    numbers = []

    def handle(socket, address):
        socket.recv(1)
        numbers.extend([socket.fileno(), socket.fileno()])
        os.close(socket.fileno())
        socket.sendall(b"still here")

    with serve(service_of(handle, kind="socket")) as server, server.dial() as peer:
        peer.sendall(b"x")
        assert b"still here" == read_exactly(peer, 10)
        assert b"" == read_to_end(peer)

    assert numbers[0] == numbers[1]


def test_a_number_that_is_another_sockets_by_now_is_left_to_it(serve, engine):
    """What closes the descriptor by mistake frees its number, and whoever opens something next may be given it."""
    one, two = socket.socketpair()
    numbers = []

    def handle(socket, address):
        numbers.append(socket.fileno())
        os.dup2(one.fileno(), numbers[0])  # closed, and another's, without a moment between
        one.close()
        socket.sendall(b"done")

    with serve(service_of(handle, kind="socket")) as server, server.dial() as peer:
        assert b"done" == read_to_end(peer)
        server.wait_closed(1)

    with two, socket.socket(fileno=numbers[0]) as other:
        other.sendall(b"x")
        assert b"x" == two.recv(1)


@pytest.mark.ciphered
@pytest.mark.parametrize("timeout_s", [0, 0.001])
@pytest.mark.parametrize("way", ["sock", "flag"])
def test_what_is_sent_again_after_an_error_arrives_once(serve, engine, timeout_s, way):
    """A `send` that raises has taken nothing, and one that returns has taken what it says: so loops are written."""
    records = b"".join(b"%07d\n" % number for number in range(400_000))
    errors = set()

    def handle(sock, address):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        flags = socket.MSG_DONTWAIT if way == "flag" else 0
        if way == "sock":
            sock.settimeout(timeout_s)
        rest = memoryview(records)
        while rest:
            try:
                rest = rest[sock.send(rest[:50_000], flags) :]
            except (BlockingIOError, TimeoutError) as error:
                errors.add(type(error))
                select.select([], [sock], [], 20)

    with serve(service_of(handle, kind="socket")) as server, server.dial() as peer:
        server.wait_until(lambda _: errors)
        received = read_to_end(peer)

    assert records == received
    assert errors == {TimeoutError if timeout_s and way == "sock" else BlockingIOError}


class Told:
    """A connection whose peer sends a byte at a time, and takes so many pieces."""

    def __init__(self, fd, received=(), takes=0):
        self._fd = fd
        self._received = list(received)
        self._takes = takes
        self.waited_s = []

    def fileno(self):
        return self._fd

    def receive(self, timeout_s):
        self.waited_s.append(timeout_s)
        if not self._received:
            raise TimeoutError
        return self._received.pop(0)

    def send(self, data):
        if not self._takes:
            raise ClosedError("closed")
        self._takes -= 1

    def close(self):
        pass


@pytest.mark.parametrize("flags", [socket.MSG_WAITALL, socket.MSG_WAITALL | socket.MSG_PEEK])
def test_all_that_is_waited_for_is_waited_for_once(monkeypatch, flags):
    """One timeout for all of it, however little comes at a time, and no second one where nothing comes."""
    now = iter(range(100))
    monkeypatch.setattr(adapted.time, "monotonic", lambda: next(now))
    with socket.socket() as real:
        conn, silent = Told(real.fileno(), [b"a", b"b"]), Told(real.fileno())
        sock, unheard = adapted.ConnectionSocket(conn), adapted.ConnectionSocket(silent)
        sock.settimeout(5)
        unheard.settimeout(5)

        assert b"ab" == sock.recv(10, flags)
        assert outcome(unheard.recv, 10, flags) is TimeoutError

    assert ([4, 3, 2], [4]) == (conn.waited_s, silent.waited_s)


def test_a_file_stands_behind_what_was_sent_where_sending_fails():
    """So it can be sent from there again."""
    file = io.BytesIO(bytes(200_000))
    with socket.socket() as real:
        sock = adapted.ConnectionSocket(Told(real.fileno(), takes=2))

        assert (OSError, "EPIPE") == outcome(sock.sendfile, file)

    assert 2 * 65536 == file.tell()


def test_sending_gives_up_when_its_timeout_has_passed(serve, engine):
    """As from a socket: how much was sent is not known then. The connection goes on."""
    found = []

    def handle(socket, address):
        socket.settimeout(0.01)
        try:
            while True:
                socket.sendall(bytes(1 << 20))
        except TimeoutError:
            found.append(TimeoutError)
        socket.settimeout(None)
        found.append(socket.recv(1))

    with serve(service_of(handle, kind="socket")) as server, server.dial() as peer:
        server.wait_until(lambda _: found)
        peer.sendall(b"x")
        with closing(peer.makefile("rb")) as file:
            while file.read(1 << 16):
                pass

    assert [TimeoutError, b"x"] == found
