"""T-30: what accept(2) may say beside EMFILE, put into its mouth by strace."""

import socket

import pytest

from penstock.testing.peers import PATIENCE_S

FAILURES = 4
PEERS = 6

# Those of the new connection, which is gone already, and those that last a while: accept(2).
GONE = ("ECONNABORTED", "EPROTO", "EPERM")
LASTING = ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM")


@pytest.mark.engines("pure", "blocking", "native")
@pytest.mark.parametrize("error", [*GONE, *LASTING])
def test_whatever_accept_fails_with_nobody_is_lost(start, strace, tools, tmp_path, error, engine, figure):
    """Who is in is served on, who waits gets in once it is over, and the log has a line at most, and no traceback."""
    # The first connection and the EAGAIN after it come before.
    inject = f"inject=accept4:error={error}:when=3..{2 + FAILURES}"
    under = strace("-e", "trace=accept4", "-e", inject)
    server = start("--on-refusal", "descriptors=wait", under=under)
    inside = server.connect()
    assert b"ping\n" == tools.ask(inside)
    waiting = [server.connect() for _ in range(PEERS)]
    answers = [tools.ask(inside), *map(tools.ask, waiting)]
    for sock in (inside, *waiting):
        sock.close()
    status = server.end()
    failed = [line for line in (tmp_path / "trace").read_text().splitlines() if line.endswith("(INJECTED)")]
    log, served = server.log.read_text(), len([answer for answer in answers[1:] if answer])
    lines = [line for line in log.splitlines() if "cannot accept" in line]
    figure(
        f"T-30 {engine.label}: accept(2) fails {len(failed)} times with {error}: "
        f"{served} of {PEERS} get in, {len(lines)} lines"
    )

    assert FAILURES == len(failed)
    assert [b"ping\n"] * (1 + PEERS) == answers
    assert (0 if error in GONE else 1) == len(lines)
    assert all(error in line for line in lines)
    assert "Traceback" not in log
    assert 0 == status


def injected(tmp_path):
    return (tmp_path / "trace").read_text().count("(INJECTED)")


@pytest.mark.engines("pure", "blocking", "native")
def test_an_error_that_may_be_a_connections_and_lasts_is_the_listeners(start, strace, tools, tmp_path, engine):
    """EPERM for ever, of a security module and not of a rule for one peer: it is told once, and nothing spins."""
    under = strace("-e", "trace=accept4", "-e", "inject=accept4:error=EPERM:when=3+")
    server = start(under=under)
    inside = server.connect()
    assert b"ping\n" == tools.ask(inside)
    outside = [server.connect() for _ in range(PEERS)]
    while "cannot accept connections: EPERM" not in server.log.read_text():
        assert b"ping\n" == tools.ask(inside)
    begun = injected(tmp_path)
    answers = {tools.ask(inside) for _ in range(100)}
    tries = injected(tmp_path)
    for sock in (inside, *outside):
        sock.close()
    status = server.end()

    assert {b"ping\n"} == answers
    assert begun <= 64  # a few turns, of 16 at most
    assert tries < begun + 100  # one turn of the loop for each answer, which do not each try again
    assert 1 == server.log.read_text().count("cannot accept")
    assert 0 == status


@pytest.mark.engines("pure", "blocking", "native")
def test_datagrams_that_cannot_be_received_are_told_once_and_nothing_spins(start, strace, tmp_path, engine):
    """An error that lasts is the socket's: it is tried again after a moment, as with accept(2)."""
    calls = "recvfrom,recvmmsg"
    under = strace("-e", f"trace={calls}", "-e", f"inject={calls}:error=EPERM:when=2+")
    server = start(bind="udp://127.0.0.1:0", under=under)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(server.address)
        peer.send(b"one")
        peer.settimeout(PATIENCE_S)
        answer = peer.recv(100)
        for _ in range(PEERS):
            peer.send(b"more")
        while "cannot receive datagrams: EPERM" not in server.log.read_text():
            assert server.popen.poll() is None
        begun = injected(tmp_path)
        while injected(tmp_path) < begun + 3:  # it goes on trying
            pass
    # Killed by the fixture: the loop is not told of a signal either, for it reads of them by the same call.

    assert b"one" == answer
    assert begun <= 64
    assert 1 == server.log.read_text().count("cannot receive")
