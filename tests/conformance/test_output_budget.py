"""The output of all peers together is bounded, whatever each may have: those who do not read pay, the others notice
nothing."""

import os

import pytest

import penstock
from penstock.config import Limits, OverloadConfig, Timeouts
from penstock.testing.peers import read_exactly

KIB, MIB = 1024, 1024**2
PEERS = 1000
OWED_BYTES = 10 * MIB
PIECE = b"x" * (64 * KIB - 1)
BUDGET_BYTES = 32 * MIB
NEVER = Timeouts(None, None, None, None, None, drain_s=10.0, linger_s=0.0, message_bytes_per_s=None)


def owing(handled):
    """Owe a peer ten mebibytes for a line, or give the line back; note when all was posted, or refused."""

    def on_message(conn, message):
        if message == b"ping":
            return message
        try:
            for _ in range(OWED_BYTES // (64 * KIB)):
                conn.post(PIECE)
        except penstock.SlowPeerError:
            pass
        handled.append(conn.id)
        return None

    return penstock.on_message(codec="lines:max=1MiB")(on_message)


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest", "drop_newest"])
def test_a_thousand_who_never_read_stay_within_the_budget(serve, engine, tmp_path, figure, policy):
    """Each is owed 10 MiB, which each could have alone; together they have the budget, and a high watermark each."""
    limits = Limits(write_max_bytes=16 * MIB, slow_consumer=policy)
    options = {"threads": PEERS + 10} if engine.name == "blocking" else {}
    handled = []
    overload = OverloadConfig(write_total_bytes=BUDGET_BYTES)
    bind = f"unix://{tmp_path}/s"
    peers = []
    with serve(owing(handled), limits=limits, overload=overload, timeouts=NEVER, bind=bind, **options) as server:
        with server.dial() as honest:
            peers.extend(server.dial() for _ in range(PEERS))
            server.wait_connections(PEERS + 1)
            before, most_held, answered = resident_bytes(), 0, 0
            for count, peer in enumerate(peers, 1):
                peer.sendall(b"go\n")
                if count % 50 == 0:
                    honest.sendall(b"ping\n")
                    answered += b"ping\n" == read_exactly(honest, 5)
                    most_held = max(most_held, held_bytes(server))
            while len(handled) < PEERS:  # no event tells of it
                server.call(lambda: None)
            most_held = max(most_held, held_bytes(server))
            grown = resident_bytes() - before
            server.wait_until(lambda it: it.stats.closed.total() + len(it.connections) == PEERS + 1)
            ended, left = server.call(lambda: (server.server.stats.closed.total(), len(server.server.connections) - 1))
            for peer in peers:
                peer.close()
    figure(
        f"{engine.label}, {policy}: {PEERS} x 10 MiB owed to peers that never read, budget 32 MiB: "
        f"{most_held / MIB:.1f} MiB held at most, {grown / MIB:.0f} MiB more resident (events and all), {ended} ended, "
        f"another answered {answered} of {PEERS // 50}"
    )

    # Who is not over the own high watermark is not held to the budget. Each may come there, and have gathered as much
    # again and a message when it is noticed; threads come there side by side, before the first of them is ended.
    each_bytes = 2 * limits.write_high_bytes + len(PIECE) + 1
    beside = left if policy == "disconnect" and engine.name != "blocking" else PEERS
    assert BUDGET_BYTES + beside * each_bytes + MIB >= most_held
    assert PEERS // 50 == answered
    assert PEERS == ended + left
    assert (policy == "disconnect") is (ended > 0)


def held_bytes(server):
    return server.call(lambda: sum(conn.held_bytes for conn in server.server.connections))
