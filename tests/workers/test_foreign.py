"""Handlers of every foreign kind under workers: they serve, they are replaced, and they end in order."""

import contextlib
import shutil
import signal
import socket
from pathlib import Path

import pytest

from .conftest import PATIENCE_S, answer, ask

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="workers are a thing of Unix"),
    pytest.mark.slow,
]

SHOUTS = Path(__file__).parent.parent / "adapters" / "shouts.py"


def test_every_kind_is_served_by_workers_and_outlives_their_replacement(supervise, directory):
    """Connections that are open when the workers are replaced meet the end of their stream; new ones are served."""
    shutil.copy(SHOUTS, directory / "app.py")
    served = supervise("app:app", bind=())
    streams, datagrams = [], []
    for address in served.facts["addresses"]:
        scheme, _, place = address.partition("://")
        (streams if scheme == "tcp" else datagrams).append(place)

    with contextlib.ExitStack() as peers:
        before = [peers.enter_context(_connect(place)) for place in streams]
        answers = [ask(peer) for peer in before]
        served.tell(signal.SIGHUP)
        served.said("reloaded: ")
        ends = [answer(peer) for peer in before]
    after = []
    for place in streams:
        with _connect(place) as peer:
            after.append(ask(peer))
    heard = []
    for place in datagrams:
        with _connect(place, socket.SOCK_DGRAM) as peer:
            peer.send(b"hello")
            heard.append(peer.recv(100).decode().rstrip("\n"))

    assert (answers, [""] * len(streams)) == (after, ends)
    assert {"HELLO 127.0.0.1", "HELLO"} == set(answers)
    assert ["HELLO 127.0.0.1"] * 2 + ["HELLO"] == heard
    assert 0 == served.stop()


def _connect(place, kind=socket.SOCK_STREAM):
    host, _, port = place.rpartition(":")
    peer = socket.socket(socket.AF_INET, kind)
    peer.settimeout(PATIENCE_S)
    peer.connect((host, int(port)))
    return peer
