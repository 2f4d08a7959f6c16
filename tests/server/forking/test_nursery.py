"""The process from which those of connections are forked."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading

import pytest

import penstock
from penstock.config import ServerConfig, TlsConfig
from penstock.engines import forked
from penstock.errors import ConfigurationError, TlsMaterialError
from penstock.reasons import CloseReason
from penstock.server.forking import nursery as module
from penstock.server.forking.child import OneServer, config_of_one
from penstock.server.forking.messages import (
    Began,
    End,
    Ended,
    NotBegun,
    Secure,
    Secured,
    Serve,
    Told,
    received_by_server,
    send,
)
from penstock.server.forking.nursery import DRAIN, Brood, Nursery
from penstock.server.server import Server
from penstock.server.shared import Shared
from penstock.testing.certificates import server_certificate

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork(2)"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def test_it_ends_with_its_server():
    """What cannot be loaded ends it as well: the server meets the same, and says so."""

    def fail():
        raise ConfigurationError("wrong")

    nursery = Nursery.begin(fail)

    assert b"" == nursery.sock.recv(100)
    nursery.close()
    nursery.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(nursery.pid, 0)


def test_a_process_that_is_told_to_end_before_it_serves_ends_in_order():
    """What it is told waits until it can hear."""
    nursery = Nursery.begin(lambda: Brood(penstock.on_message(codec="lines")(bytes.upper), ServerConfig()))
    ours, theirs = socket.socketpair()
    found = []
    with ours, theirs:
        send(nursery.sock, Serve(id=5, address="unix:/nowhere", peer=None), [theirs.fileno()])
        send(nursery.sock, End(id=5, signal=DRAIN))
        theirs.close()
        while not found or type(found[-1]) is not Ended:
            found.append(received_by_server(nursery.sock))
        found.append(received_by_server(nursery.reports))
        assert b"" == ours.recv(1)
    nursery.close()

    by_type = {type(message): message for message in found}
    assert {Began, Told, Ended} == by_type.keys()
    assert (CloseReason.DRAINED, 0) == (by_type[Told].reason, by_type[Ended].status)


def looks(message):
    """Say how often the process has its connection open, what of it would outlive exec(2), and whether it is shared."""
    names = {}
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            names[number] = os.readlink(f"/proc/self/fd/{number}")
    held = [number for number, name in names.items() if name == f"socket:[{message.decode()}]"]
    return f"{len(held)} {sum(map(os.get_inheritable, held))} {forked._forked}".encode()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_each_process_has_its_connection_once_and_knows_that_another_one_may_have_it():
    """The first one as well: the nursery has a copy until it has closed that."""
    nursery = Nursery.begin(lambda: Brood(penstock.on_message(codec="lines")(looks), ServerConfig()))
    answers = []
    for number in range(2):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(40)
            send(nursery.sock, Serve(id=number + 1, address="unix:/nowhere", peer=None), [theirs.fileno()])
            inode = os.fstat(theirs.fileno()).st_ino
            theirs.close()
            ours.sendall(b"%d\n" % inode)
            answers.append(ours.recv(100))
    nursery.close()

    assert [b"1 0 True\n"] * 2 == answers


def test_a_process_whose_nursery_was_gone_before_the_kernel_could_say_so_is_told_to_end():
    """It tells itself, and hears that once it can hear. In a process of its own: what the kernel is told stays."""
    code = (
        "import os, signal; from penstock.server.forking.child import _end_with; from penstock.server.forking.nursery "
        "import DRAIN, TO_PROCESSES; signal.pthread_sigmask(signal.SIG_BLOCK, TO_PROCESSES); _end_with(os.getppid()); "
        "print(DRAIN in signal.sigpending()); _end_with(os.getpid()); print(DRAIN in signal.sigpending())"
    )

    assert "False\nTrue\n" == subprocess.check_output([sys.executable, "-c", code], text=True, timeout=40)


async def test_a_handler_that_ends_the_server_where_that_is_gone_ends_its_connection():
    """And does not fail: it has asked for nothing else."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    with ours:
        for end in (OneServer.begin_drain, OneServer.begin_stop):
            server = OneServer(penstock.on_message(codec="lines")(bytes.upper), config_of_one(ServerConfig(), "pure"))
            server.wants = ours
            await server.start()
            end(server)
            await server.wait_stopped()

            assert server.is_ending


def test_threads_that_run_already_are_told_of(caplog):
    """None of them runs in what is forked."""
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    with caplog.at_level(logging.WARNING, "penstock"):
        nursery = Nursery.begin(lambda: os._exit(0))
    ends.set()
    thread.join()
    nursery.close()

    assert "none of them will in the processes of connections" in caplog.text


def test_without_fork_there_is_no_such_model(monkeypatch):
    """It is said."""
    monkeypatch.delattr(module.os, "fork")

    with pytest.raises(ConfigurationError, match="need a Unix system"):
        Nursery.begin(lambda: None)


async def test_in_a_loop_that_runs_it_is_refused():
    """Processes are forked before there is one."""
    server = penstock.serve(penstock.on_message(codec="lines")(bytes.upper), model="process", port=0)

    with pytest.raises(ConfigurationError, match="forked before anything else begins"):
        await server.start()
    assert 64 == ServerConfig().max_processes


@pytest.mark.parametrize(
    "requested",
    ["tls://127.0.0.1:1", "tcp+tls://127.0.0.1:1", "tcp://127.0.0.1:1?tls=start", "unix:/nowhere?tls=on"],
)
@pytest.mark.parametrize("is_told", [False, True])
def test_without_a_certificate_nothing_is_served_where_tls_may_be_spoken(requested, is_told):
    """Not in clear: its files could not be read, or nothing was said of them. The server is told why."""
    nursery = Nursery.begin(lambda: Brood(penstock.on_message(codec="lines")(bytes.upper), ServerConfig()))
    ours, theirs = socket.socketpair()
    found = []
    with ours, theirs:
        if is_told:
            send(nursery.sock, Secure(TlsConfig(cert=("/nowhere",))))
            found.append(received_by_server(nursery.sock))
        ours.sendall(b"a\n")
        asked = Serve(id=5, address="tcp://127.0.0.1:1", peer=["127.0.0.1", 9], requested=requested)
        send(nursery.sock, asked, [theirs.fileno()])
        theirs.close()
        found.append(received_by_server(nursery.sock))
        ours.settimeout(40)
        with contextlib.suppress(ConnectionResetError):
            assert b"" == ours.recv(100)
    nursery.close()

    assert [Secured, NotBegun] if is_told else [NotBegun] == list(map(type, found))
    assert not is_told or "/nowhere cannot be read" in found[0].problem
    assert "no certificate" in found[-1].problem


async def test_a_start_is_refused_whose_certificates_the_nursery_cannot_read(monkeypatch):
    """It reads them later than the server, which has read them: before a connection comes the two are of one mind."""
    pytest.importorskip("trustme")
    service = penstock.on_message(codec="lines")(bytes.upper)
    config = ServerConfig(bind=("tls://127.0.0.1:0",), model="process", tls=TlsConfig(cert=(server_certificate(),)))
    monkeypatch.setattr(Nursery, "secure", lambda self, _: send(self.sock, Secure(TlsConfig(cert=("/nowhere",)))))
    nursery = Nursery.begin(lambda: Brood(service, config))
    try:
        with pytest.raises(TlsMaterialError, match="/nowhere cannot be read"):
            await Server(service, config, shared=Shared(nursery=nursery)).start()
    finally:
        nursery.close()


async def test_an_exchange_that_the_nursery_refuses_is_none(monkeypatch):
    """The server shows what the processes of connections show: it is told, and has nothing else than they have."""
    pytest.importorskip("trustme")
    service = penstock.on_message(codec="lines")(bytes.upper)
    config = ServerConfig(bind=("tls://127.0.0.1:0",), model="process", tls=TlsConfig(cert=(server_certificate(),)))
    nursery = Nursery.begin(lambda: Brood(service, config))
    try:
        async with Server(service, config, shared=Shared(nursery=nursery)):
            with pytest.raises(TlsMaterialError, match="/nowhere cannot be read"):
                await nursery.exchange(TlsConfig(cert=("/nowhere",)))
            await nursery.exchange(config.tls)
        with pytest.raises(TlsMaterialError, match="no process"):
            await nursery.exchange(config.tls)
    finally:
        nursery.close()
