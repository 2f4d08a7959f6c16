"""One worker as another one knows it: what is said to it."""

import socket
import threading

import pytest

from penstock.testing.thread import PATIENCE_S
from penstock.workers.mesh.link import Link


class Interrupted:
    """Stands for a socket, and does something first, once, when it is written to."""

    def __init__(self, sock, act):
        self._sock = sock
        self._acts = [act]

    def __getattr__(self, name):
        if name == "sendmsg" and self._acts:
            self._acts.pop()()
        return getattr(self._sock, name)


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_finaliser_may_publish_while_something_is_written(is_closed):
    """It waits for no lock of its own thread. What it says comes after, once; nothing does after the end."""
    ours, theirs = socket.socketpair()
    link = Link(ours, 1, 1, lambda *_: None)

    def meanwhile():
        link.queue(b" second")
        link.flush()
        if is_closed:
            link.close()

    def publish():
        link.queue(b"first")
        link.flush()

    link._sock = Interrupted(ours, meanwhile)
    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    with theirs:
        assert not thread.is_alive()
        link.close()
        assert (b"" if is_closed else b"first second") == b"".join(iter(lambda: theirs.recv(100), b""))
        assert 0 == link.waiting_bytes
