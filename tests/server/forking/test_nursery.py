"""The process from which those of connections are forked."""

import logging
import os
import socket
import threading

import pytest

import penstock
from penstock.config import ServerConfig
from penstock.errors import ConfigurationError
from penstock.reasons import CloseReason
from penstock.server.forking import nursery as module
from penstock.server.forking.messages import Began, End, Ended, Serve, Told, received_by_server, send
from penstock.server.forking.nursery import DRAIN, Brood, Nursery

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork(2)")


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
        assert b"" == ours.recv(1)
    nursery.close()

    by_type = {type(message): message for message in found}
    assert {Began, Told, Ended} == by_type.keys()
    assert (CloseReason.DRAINED, 0) == (by_type[Told].reason, by_type[Ended].status)


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
