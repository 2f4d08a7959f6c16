"""A supervisor that is told to end while one worker serves, and another one is not ready."""

import signal
import socket

import pytest

from .conftest import PATIENCE_S, answer, pause, pid_of

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="workers are a thing of Unix")

HELD = """
@penstock.on_message(codec="lines")
async def late_or_held(message):
    while wait(b"wait" if message == b"hold" else message):
        if message == b"hold":
            time.sleep(600)
        await asyncio.sleep(0.01)
    return f"{os.getpid()} {VERSION} {message.decode()}".encode()
"""
# The worker that is started second hangs before it has a handler. A supervisor starts it once the first one serves.
SECOND_HANGS = """
try:
    os.close(os.open("began", os.O_CREAT | os.O_EXCL))
except FileExistsError:
    os.close(os.open("hangs", os.O_CREAT))
    time.sleep(600)
"""


@pytest.fixture
def half_started(launch, directory):
    """Two workers of which one serves, and a connection to that."""
    app, path = directory / "app.py", directory / "s"
    app.write_text(app.read_text() + HELD + SECOND_HANGS)
    served = launch("app:late_or_held", "--stall-warning", "none", bind=[f"unix:{path}"])
    while not (directory / "hangs").exists():
        assert served.process.poll() is None, served.rest()
        pause()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE_S)
        peer.connect(str(path))
        yield served, peer
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_one_signal_drains_those_that_serve(half_started, number):
    """What was received is answered, and the status is that of a server that has ended as told."""
    served, peer = half_started
    worker = pid_of(peer)
    peer.sendall(b"wait\n")
    served.await_work(worker)
    served.tell(number)
    served.said("draining")
    (served.directory / "go").touch()

    assert ("one wait", "") == (answer(peer).partition(" ")[2], answer(peer))
    assert 0 == served.process.wait(PATIENCE_S)
    assert b"" == served.process.stdout.read()


def test_a_second_signal_cuts_what_the_first_one_waits_for(half_started):
    """And the status says so, though not all workers were ever up."""
    served, peer = half_started
    worker = pid_of(peer)
    peer.sendall(b"wait\n")
    served.await_work(worker)
    served.tell(signal.SIGTERM)
    served.said("draining")

    assert 7 == served.stop(signal.SIGINT)
    assert b"" == served.process.stdout.read()


def test_a_second_signal_ends_a_worker_that_is_held(half_started):
    """By force, and the status is the same."""
    served, peer = half_started
    worker = pid_of(peer)
    peer.sendall(b"hold\n")
    served.await_work(worker)
    served.tell(signal.SIGTERM)

    assert 7 == served.stop(signal.SIGINT)
