"""The output of all peers together is bounded, whatever each may have: those who do not read pay, the others notice
nothing."""

import contextlib
import os
import threading

import pytest

import penstock
from penstock.config import Limits, OverloadConfig, Timeouts
from penstock.core.budget import FREE_BYTES
from penstock.testing.peers import PATIENCE_S, read_exactly

KIB, MIB = 1024, 1024**2
OWED_BYTES = 10 * MIB
PIECE = b"x" * (64 * KIB - 1)
SHARE_BYTES = 32 * KIB  # of the budget, for each: less than the piece of which the kernel takes a part
# The message that is being sent, and what was gathered with it. Threads have one each.
AT_ONCE_BYTES = 2 * MIB
NEVER = Timeouts(None, None, None, None, None, drain_s=10.0, linger_s=0.0, message_bytes_per_s=None)


def owing(handled):
    """Owe a peer ten mebibytes for a line, or give the line back; note when all was posted, or refused."""

    def on_message(conn, message):
        if message == b"ping":
            return message
        try:
            for _ in range(OWED_BYTES // (64 * KIB)):
                conn.post(PIECE)
        except penstock.ConnectionEndedError:
            pass
        handled.append(conn.id)
        return None

    return penstock.on_message(codec="lines:max=1MiB")(on_message)


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest", "drop_newest"])
@pytest.mark.parametrize("crowd", [200, pytest.param(1000, marks=pytest.mark.full)])
def test_a_crowd_who_never_read_stay_within_the_budget(serve, engine, tmp_path, figure, policy, crowd):
    """Each is owed 10 MiB, which each could have alone; together they have the budget, and not a message more.

    The messages are large: of each peer's last one the kernel takes a part, and no policy can give up the rest.
    """
    limits = Limits(write_max_bytes=16 * MIB, slow_consumer=policy)
    options = {"threads": crowd + 10} if engine.name == "blocking" else {}
    handled, budget_bytes = [], crowd * SHARE_BYTES
    overload = OverloadConfig(write_total_bytes=budget_bytes)
    bind = f"unix://{tmp_path}/s"
    peers = []
    with serve(owing(handled), limits=limits, overload=overload, timeouts=NEVER, bind=bind, **options) as server:
        with server.dial() as honest:
            peers.extend(server.dial() for _ in range(crowd))
            server.wait_connections(crowd + 1)
            before, most_held, answered = resident_bytes(), 0, 0
            for count, peer in enumerate(peers, 1):
                peer.sendall(b"go\n")
                if count % 50 == 0:
                    honest.sendall(b"ping\n")
                    answered += b"ping\n" == read_exactly(honest, 5)
                    most_held = max(most_held, held_bytes(server))
            while len(handled) < crowd:  # no event tells of it
                server.call(lambda: None)
            most_held = max(most_held, held_bytes(server))
            grown = resident_bytes() - before
            server.wait_until(lambda it: it.stats.closed.total() + len(it.connections) == crowd + 1)
            ended, left = server.call(lambda: (server.server.stats.closed.total(), len(server.server.connections) - 1))
            for peer in peers:
                peer.close()
    figure(
        f"{engine.label}, {policy}: {crowd} x 10 MiB owed to who never reads, budget {budget_bytes / MIB:.1f} MiB: "
        f"{most_held / MIB:.1f} MiB held at most, {grown / MIB:.0f} MiB more resident (events and all), {ended} ended, "
        f"another answered {answered} of {crowd // 50}"
    )

    assert budget_bytes + AT_ONCE_BYTES + crowd * FREE_BYTES >= most_held
    assert crowd // 50 == answered
    assert crowd == ended + left
    assert 0 < ended


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "raise"])
def test_what_can_be_given_up_is_enough_for_a_broadcast(serve, engine, tmp_path, figure, policy):
    """All are owed several times their share, most of it gives way for each alike, and nobody is ended."""
    peers, budget_bytes, message = 60, 2 * MIB, b"x" * 1023
    members, over = [], threading.Event()

    class Member(penstock.Handler):
        def on_connect(self, conn):
            members.append(conn)

        def on_message(self, conn, _message):
            for _ in range(400):  # of which a kernel takes a quarter
                for member in members:
                    with contextlib.suppress(penstock.QueueFullError):
                        member.post(message)
            over.set()

    options = {"threads": peers + 10} if engine.name == "blocking" else {}
    limits, overload = Limits(slow_consumer=policy), OverloadConfig(write_total_bytes=budget_bytes)
    bind = f"unix://{tmp_path}/s"
    service = penstock.as_service(Member, codec="lines")
    with serve(service, limits=limits, overload=overload, timeouts=NEVER, bind=bind, **options) as server:
        socks = [server.dial() for _ in range(peers)]
        server.wait_connections(peers)
        socks[0].sendall(b"go\n")
        assert over.wait(PATIENCE_S)
        each = server.call(lambda: sorted(conn.held_bytes for conn in server.server.connections))
        for sock in socks:
            sock.close()
    figure(
        f"{engine.label}, {policy}: {peers} x 400 KiB broadcast to peers that never read, budget 2 MiB: "
        f"{sum(each) / MIB:.1f} MiB held, {each[0] / KIB:.0f} to {each[-1] / KIB:.0f} KiB each, nobody ended"
    )

    assert peers == len(each)
    assert budget_bytes + peers * FREE_BYTES >= sum(each)


def held_bytes(server):
    return server.call(lambda: sum(conn.held_bytes for conn in server.server.connections))
