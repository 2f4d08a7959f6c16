"""T-30: what accept(2) may say beside EMFILE, put into its mouth by strace."""

import pytest

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
