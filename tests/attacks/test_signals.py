"""Signals at any moment while peers make as much noise as they can. T-55, T-58."""

import contextlib
import os
import random
import signal
import socket
import threading
import time

import pytest

from penstock.testing.peers import PATIENCE_S

ROUNDS = 4
SEED = 20261121
# Nothing cut, or something cut at the second signal.
ENDED = {0, 7}


@pytest.fixture
def noise():
    """A function that makes noise at a Unix socket from a thread, until nobody listens there any more."""
    threads = []

    def work(address):
        while True:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(PATIENCE_S)
                try:
                    sock.connect(address)
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    sock.sendall(b"a line\n" * 500)
                    sock.recv(100)
                    sock.sendall(b"half a line")

    def make(address):
        threads.append(threading.Thread(target=work, args=(address,)))
        threads[-1].start()

    yield make
    for thread in threads:
        thread.join()


@pytest.mark.engines("pure", "blocking", "native")
@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGINT", "SIGTERM"]], ids="+".join)
def test_a_signal_at_any_moment_ends_the_server_and_leaves_nothing(start, noise, tmp_path, signals, engine, figure):
    """From the first moment it serves on: an exit status that says how, no traceback, no socket file."""
    delays = random.Random(SEED)
    statuses, said = [], ""
    for _ in range(ROUNDS):
        path = tmp_path / "s"
        server = start("--timeout-drain", "5s", target="echo", bind=f"unix:{path}")
        for _ in range(2):
            noise(server.address)
        for name in signals:
            time.sleep(delays.random() / 20)
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, getattr(signal, name))
        statuses.append(server.popen.wait(PATIENCE_S))
        said += server.log.read_text()
        assert not path.exists()
    figure(f"T-58 {engine.label}: {' and '.join(signals)} under load {ROUNDS} times: exit {sorted(set(statuses))}")

    assert ENDED >= set(statuses)
    assert "Traceback" not in said
