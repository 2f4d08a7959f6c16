"""Files of certificates that change while the server serves: T-50."""

import asyncio
import errno
import functools
import shutil
import ssl
import threading
import time

import pytest

import penstock
from penstock.config import TlsConfig
from penstock.errors import TlsMaterialError
from penstock.server import certificate_files as module
from penstock.server.certificate_files import follow, signatures
from penstock.server.tls import ServerTls
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.peers import dial
from penstock.testing.thread import ServerThread

pytest.importorskip("trustme")

FOLLOW_S = 0.01


@penstock.on_message(codec="lines")
def upper(message):
    return message.upper()


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A certificate and its key, in files of their own, that are looked at again and again."""
    monkeypatch.setattr("penstock.server.certificate_files.FOLLOW_S", FOLLOW_S)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


@pytest.fixture(scope="module")
def pairs():
    """Two certificates for this machine, each with its key."""
    return [authority().issue(f"f-{number}", "localhost", f"n{number}.example") for number in range(2)]


def put(source, *targets):
    """Put a file in place of others, as what renews certificates does: each at once, one after the other."""
    for target in targets:
        new = target.with_suffix(".new")
        shutil.copyfile(source, new)
        new.chmod(0o600)
        new.replace(target)


def names_shown(server):
    with CipheredSocket(dial(server.address), authority().client()) as peer:
        return peer.certificate.dns_names[-1]


def serve(cert, key):
    return ServerThread(upper, bind="tls://127.0.0.1:0", tls_cert=str(cert), tls_key=str(key))


def await_names(server, name):
    while names_shown(server) != name:
        time.sleep(FOLLOW_S)


@pytest.mark.timeout(40)
def test_new_files_are_shown_without_a_word_to_the_server(files, pairs):
    """A connection that is open keeps what it has."""
    put(pairs[0], *files)
    with serve(*files) as server, CipheredSocket(dial(server.address), authority().client()) as peer:
        before = names_shown(server)
        put(pairs[1], *files)
        await_names(server, "n1.example")
        peer.sendall(b"still here\n")

        assert ("n0.example", b"STILL HERE\n") == (before, peer.recv(100))


@pytest.mark.timeout(40)
def test_a_pair_that_is_broken_is_none_until_it_is_whole(files, pairs, caplog):
    """The key is another certificate's: the log says so, the old pair stays; with its own key the new one is shown."""
    put(pairs[0], *files)
    with serve(*files) as server:
        put(pairs[1], files[0])
        while "stay as they are" not in caplog.text:
            assert "n0.example" == names_shown(server)
            time.sleep(FOLLOW_S)
        put(pairs[1], files[1])
        await_names(server, "n1.example")

    assert 1 == caplog.text.count("is not that of the certificate")


@pytest.mark.timeout(40)
def test_no_handshake_fails_while_they_change(files, pairs):
    """Peers connect one after the other, from several threads, and never meet half of a pair."""
    put(pairs[0], *files)
    problems, over = [], threading.Event()

    def connects(server):
        while not over.is_set():
            try:
                names_shown(server)
            except Exception as error:  # any
                problems.append(error)

    with serve(*files) as server:
        threads = [threading.Thread(target=connects, args=(server,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for number in (1, 0) * 3:
                put(pairs[number], *files)
                await_names(server, f"n{number}.example")
        finally:
            over.set()
            for thread in threads:
                thread.join()
        closed = server.call(lambda: dict(server.server.stats.closed))

    assert ([], {"peer_closed"}) == (problems, {str(reason) for reason in closed})


@pytest.mark.timeout(40)
def test_a_list_of_revoked_clients_is_followed_too(tmp_path, monkeypatch):
    """Who was let in is refused from when the list says so."""
    monkeypatch.setattr("penstock.server.certificate_files.FOLLOW_S", FOLLOW_S)
    mine = authority().issue("f-client", "c@example.org")
    other = authority().issue("f-other", "d@example.org")
    path = tmp_path / "crl.pem"
    put(authority().revoke("f-one", other), path)
    options = {"tls_cert": server_certificate(), "tls_client_ca": authority().ca, "tls_crl": str(path)}
    with ServerThread(upper, bind="tls://127.0.0.1:0", **options) as server:

        def is_served():
            try:
                with CipheredSocket(dial(server.address), authority().client(mine)) as peer:
                    peer.sendall(b"a\n")
                    return peer.recv(10) == b"A\n"
            except (ssl.SSLError, ConnectionError):
                return False

        before = is_served()
        put(authority().revoke("f-two", other, mine), path)
        while is_served():
            time.sleep(FOLLOW_S)

    assert before


@pytest.mark.timeout(40)
def test_a_certificate_that_expires_soon_is_spoken_of_each_day(monkeypatch, caplog):
    """Not only at the start: a server may serve for longer than its certificate is valid."""
    monkeypatch.setattr("penstock.server.certificate_files.FOLLOW_S", FOLLOW_S)
    monkeypatch.setattr("penstock.server.certificate_files.REMIND_S", 2 * FOLLOW_S)
    cert = authority().issue("f-soon", "localhost", "soon.example", days=3)
    with ServerThread(upper, bind="tls://127.0.0.1:0", tls_cert=cert) as server:
        while caplog.text.count("expires in 3 days") < 3:
            assert "soon.example" == names_shown(server)
            time.sleep(FOLLOW_S)


class FailsOnce:
    """Stands for a function, and raises in place of its ``at``-th call."""

    def __init__(self, function, error, at=1):
        self._function = function
        self._error = error
        self._left = at

    def __call__(self, *args, **kwargs):
        self._left -= 1
        if self._left == 0:
            raise self._error
        return self._function(*args, **kwargs)

    def __get__(self, found, _):
        return functools.partial(self, found)


FAILURES = {
    "no thread to look": ("aside", RuntimeError("can't start new thread"), 2),
    "no thread to read": ("aside", RuntimeError("can't start new thread"), 4),
    "no memory to read": ("aside", MemoryError(), 4),
    "no memory to wait": ("sleep", MemoryError(), 2),
    "no descriptor": ("load_cert_chain", OSError(errno.EMFILE, "Too many open files"), 1),
    "gone meanwhile": ("load_cert_chain", FileNotFoundError(errno.ENOENT, "No such file or directory"), 1),
    "refused elsewhere": ("exchange", TlsMaterialError("there it cannot be read"), 1),
    "a mistake": ("exchange", ValueError("wrong"), 1),
    "warnings": ("warn", ValueError("wrong"), 1),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_whatever_fails_once_certificates_are_followed(files, pairs, monkeypatch, failure):
    """The files change once; what is in them is shown, and the next ones are, too."""
    what, error, at = FAILURES[failure]
    put(pairs[0], *files)
    config = TlsConfig(cert=(str(files[0]),), key=(str(files[1]),))
    before, tls, shown = signatures(config), ServerTls(config), asyncio.Event()
    files[1].chmod(0o644)  # which is warned of

    async def show(material):
        tls.exchange(material)
        shown.set()

    exchange, warn = show, lambda _: None
    if what == "aside":
        monkeypatch.setattr(module, "aside", FailsOnce(module.aside, error, at))
    elif what == "sleep":
        monkeypatch.setattr(asyncio, "sleep", FailsOnce(asyncio.sleep, error, at))
    elif what == "load_cert_chain":
        monkeypatch.setattr(ssl.SSLContext, what, FailsOnce(ssl.SSLContext.load_cert_chain, error, at))
    elif what == "exchange":
        exchange = FailsOnce(show, error, at)
    else:
        warn = FailsOnce(warn, error, at)
    follower = asyncio.create_task(follow(tls, exchange, warn, before))
    async with asyncio.timeout(40):
        for pair, name in ((pairs[1], "n1.example"), (pairs[0], "n0.example")):
            put(pair, *files)
            while tls.material.leaves[0].names[-1] != name:
                await shown.wait()
                shown.clear()
    follower.cancel()

    assert not follower.done()
    with pytest.raises(asyncio.CancelledError):
        await follower
