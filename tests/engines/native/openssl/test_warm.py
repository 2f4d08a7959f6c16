"""OpenSSL's buffers stay with the sessions that are at work, and go from those that are not."""

import ctypes
import gc
import ssl
import time

import pytest

import penstock
from penstock.engines.native.openssl import loaded
from penstock.engines.native.openssl.session import OpenSslSession
from penstock.testing.certificates import server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.peers import dial
from penstock.testing.served import served
from penstock.testing.thread import PATIENCE_S

pytest.importorskip("trustme")
pytestmark = pytest.mark.skipif(loaded.why_not() is not None, reason=str(loaded.why_not()))
NATIVE = [engine for engine in ALL_ENGINES if engine.label in ("native", "attached")]
engines = pytest.mark.parametrize("engine", NATIVE, ids=lambda engine: engine.label)


@pytest.fixture
def serve(engine):
    gc.collect()  # sessions of other tests, whose buffers would be counted

    def start(target, **options):
        return served(
            target,
            engine=engine.name,
            loop_factory=engine.loop_factory,
            bind="tls://127.0.0.1:0",
            tls_cert=server_certificate(),
            **options,
        )

    return start


@penstock.on_message(codec="lines:max=1MiB")
def upper(message):
    return message.upper()


def keeping():
    """Return how many sessions keep their buffers."""
    return sum(each.keeps_buffers for each in gc.get_objects() if type(each) is OpenSslSession)


def work(peer, answers):
    """Ask in quick succession until the server's session keeps its buffers, or too long; return how many do."""
    until = time.monotonic() + PATIENCE_S
    while not (found := keeping()) and time.monotonic() < until:
        for _ in range(20):
            peer.sendall(b"line\n")
            assert b"LINE\n" == answers.readline()
    return found


def rest(server):
    """Wait until no session keeps its buffers."""
    server.wait_until(lambda _: keeping() == 0)


@engines
def test_buffers_are_kept_while_there_is_work_and_given_back_after_it(serve):
    """One that is heard once in a while never keeps them; what comes after they were given back is read as before."""
    with serve(upper) as server, CipheredSocket(dial(server.address)) as peer, peer.makefile() as answers:
        peer.sendall(b"line\n")
        assert b"LINE\n" == answers.readline()
        at_first = keeping()
        at_work = work(peer, answers)
        rest(server)
        again = work(peer, answers)

    assert (0, 1, 1) == (at_first, at_work, again)


def begun():
    """Return how many sessions have the beginning of a record."""
    return sum(each.has_begun for each in gc.get_objects() if type(each) is OpenSslSession)


@engines
@pytest.mark.parametrize("cut", [1, 4, 5, 6, 9, -1])
def test_the_beginning_of_a_record_outlives_the_buffers_that_are_given_back(serve, cut):
    """The buffer that holds it is not given back: some versions of OpenSSL would free one that holds a header alone."""
    with serve(upper) as server, CipheredSocket(dial(server.address)) as peer, peer.makefile() as answers:
        work(peer, answers)
        at_work = begun()
        peer._session.write(b"cut in two\n")
        record = peer._outgoing.read()
        peer.raw.sendall(record[:cut])
        server.wait_until(lambda _: begun())
        rest(server)
        peer.raw.sendall(record[cut:])
        answer = answers.readline()

    assert (0, b"CUT IN TWO\n") == (at_work, answer)


@engines
def test_a_session_that_ends_at_work_is_forgotten(serve):
    """Those that are left are looked at after it has gone."""
    with serve(upper) as server:
        for _ in range(3):
            with CipheredSocket(dial(server.address)) as peer, peer.makefile() as answers:
                work(peer, answers)
                for _ in range(20):
                    peer.sendall(b"line\n")
                    assert b"LINE\n" == answers.readline()
        server.reasons(3)
        with CipheredSocket(dial(server.address)) as peer, peer.makefile() as answers:
            work(peer, answers)
            rest(server)
            peer.sendall(b"line\n")
            answer = answers.readline()

    assert b"LINE\n" == answer


@engines
def test_an_error_that_others_have_left_is_not_taken_for_a_sessions_own(serve):
    """OpenSSL has one queue of errors for a thread: records in pieces, and the peer's end, are what they are."""
    functions = ctypes.PyDLL(ssl._ssl.__file__)  # holds the interpreter: in the thread of the server
    if not hasattr(functions, "ERR_set_error"):
        pytest.skip("OpenSSL 1.1.1 has another function for it")

    @penstock.on_message(codec="lines")
    def leave_one(message):
        functions.ERR_new()
        functions.ERR_set_error(20, 100, None)
        return message.upper()

    with serve(leave_one) as server:
        with CipheredSocket(dial(server.address)) as peer, peer.makefile() as answers:
            received = []
            for number in range(3):
                peer._session.write(b"line %d\n" % number)
                record = peer._outgoing.read()
                peer.raw.sendall(record[:9])
                peer.raw.sendall(record[9:])
                received.append(answers.readline())
        reasons = server.reasons(1)

    assert [b"LINE 0\n", b"LINE 1\n", b"LINE 2\n"] == received
    assert ["peer_closed"] == reasons
