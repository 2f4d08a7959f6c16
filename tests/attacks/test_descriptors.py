"""T-30: a server that has no descriptor left neither spins nor fills its log, harms nobody, and recovers at once."""

import contextlib
import select
import time

import pytest

DESCRIPTORS = 64
CLIENTS = 150
ROUNDS = 20


# Long enough for a spinning server to spend CPU time that shows.
WINDOW_S = 1.0
# Soft and hard, so that the server cannot raise it.
LIMITED = ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$0" "$@"']
# A connection of the blocking engine has two descriptors. Half of the way to the limit, and as many as are let in.
ENTERING = {"blocking": 16, "native": 32, "pure": 32}
ROOM = {"blocking": 21, "native": 43, "pure": 43}


@pytest.mark.engines("pure", "blocking", "native")
@pytest.mark.parametrize("action", ["reset", "wait"])
def test_out_of_descriptors_the_server_tells_peers_and_neither_spins_nor_fills_its_log(
    start, tools, action, engine, figure
):
    """At most two lines for the episode, one a second for the refused; who is in is served on; recovery by itself."""
    server = start("--max-connections", "none", "--on-refusal", f"descriptors={action}", under=LIMITED)
    before, began = server.cpu_seconds, time.monotonic()
    inside = [server.connect() for _ in range(ENTERING[engine.label])]
    assert [b"ping\n"] * len(inside) == [tools.ask(sock) for sock in inside]
    outside = [server.connect() for _ in range(CLIENTS - len(inside))]
    resets = 0
    if action == "reset":
        for sock in outside:
            if tools.ask(sock) is None:
                resets += 1
            else:
                inside.append(sock)
        for _ in range(ROUNDS):
            outside.append(server.connect())
            resets += tools.ask(outside[-1]) is None
    else:
        time.sleep(WINDOW_S)
    served = len([sock for sock in inside if tools.ask(sock) == b"ping\n"])
    seconds = time.monotonic() - began
    spent = server.cpu_seconds - before
    for sock in inside + outside:
        sock.close()
    server.connect_when_it_answers().close()
    lines = server.log.read_text().splitlines()
    episodes = [line for line in lines if "cannot accept" in line or "accepting again" in line]
    refused = [line for line in lines if "refused" in line]
    tracebacks = [line for line in lines if "Traceback" in line]
    figure(
        f"T-30 {engine.label} {action}: {DESCRIPTORS} descriptors, {CLIENTS} clients and {ROUNDS} more one by one: "
        f"{served} served on, {resets} reset, {len(episodes)} + {len(refused)} lines, "
        f"{spent:.2f} s CPU in {seconds:.1f} s"
    )

    assert len(inside) == served
    assert 2 >= len(episodes)
    assert 1 <= len([line for line in episodes if "cannot accept connections: EMFILE" in line])
    assert seconds + 2 >= len(refused)
    assert [] == tracebacks
    assert (resets > CLIENTS - DESCRIPTORS) is (action == "reset")
    assert seconds / 2 > spent
    assert 0 == server.end()


@pytest.mark.engines("pure", "blocking", "native")
def test_a_limit_that_the_descriptors_do_not_allow_is_lowered_with_both_numbers(start, tools, engine, figure):
    """Row 31: said at the start, not found out under load; and then the limit holds."""
    server = start("--max-connections", "1000", under=LIMITED)
    peers = [server.connect() for _ in range(60)]
    served = len([sock for sock in peers if tools.ask(sock) == b"ping\n"])
    for sock in peers:
        sock.close()
    status = server.end()  # first: the log is written by a thread of its own, and is whole then
    text, room = server.log.read_text(), ROOM[engine.label]
    figure(
        f"T-30 {engine.label}: the limit that fits {DESCRIPTORS} descriptors: {served} of 60 served, the others reset "
        "by the gate"
    )

    assert f"max_connections lowered from 1000 to {room}: the process is limited to 64 descriptors" in text
    assert room == served
    assert "cannot accept" not in text
    assert 0 == status


FULL_WINDOW_S = 4.0


def come(server, opened):
    """Connect; return the socket, which is closed at the end."""
    opened.append(server.connect())
    return opened[-1]


@pytest.mark.full
@pytest.mark.engines("pure", "blocking", "native")
@pytest.mark.parametrize("action", ["reset", "wait"])
def test_four_seconds_without_descriptors_cost_nobody_who_is_in_anything(start, tools, opened, action, engine, figure):
    """T-30: two lines for the episode, less than 5 % of a core, none harmed, the next one in within a second."""
    server = start("--max-connections", "none", "--on-refusal", f"descriptors={action}", under=LIMITED)
    banner = len(server.logged("(Press CTRL+C to quit)"))
    inside = [come(server, opened) for _ in range(ENTERING[engine.label])]
    assert [b"ping\n"] * len(inside) == [tools.ask(sock) for sock in inside]
    outside = [come(server, opened) for _ in range(CLIENTS - len(inside))]
    for sock in outside:
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"ping\n")
    before, began = server.cpu_seconds, time.monotonic()
    asked = harmed = 0
    while time.monotonic() < began + FULL_WINDOW_S:
        answers = [tools.ask(sock) for sock in inside]
        asked += len(answers)
        harmed += len([answer for answer in answers if answer != b"ping\n"])
        if action == "reset":
            assert tools.ask(come(server, opened)) is None
        time.sleep(WINDOW_S / 4)
    spent, seconds = server.cpu_seconds - before, time.monotonic() - began
    waiting = [sock for sock in outside if not select.select([sock], [], [], 0)[0]]
    for sock in inside[: len(inside) // 2]:
        sock.close()
    began = time.monotonic()
    if action == "wait":
        assert b"ping\n" == waiting[0].recv(5)
    else:
        server.connect_when_it_answers().close()
    recovered_s = time.monotonic() - began
    harmed += len([sock for sock in inside[len(inside) // 2 :] if tools.ask(sock) != b"ping\n"])
    for sock in opened:
        sock.close()
    server.connect_when_it_answers().close()
    lines = server.log.read_text().splitlines()[banner:]
    episodes = [line for line in lines if "cannot accept" in line or "accepting again" in line]
    refused = [line for line in lines if "refused" in line]
    figure(
        f"T-30 {engine.label} {action}: {DESCRIPTORS} descriptors, {CLIENTS} clients, {seconds:.1f} s: "
        f"{len(episodes)} + {len(refused)} lines, {spent / seconds:.1%} of a core, "
        f"the next one in after {recovered_s:.2f} s, {harmed} of {asked} questions of who was in not answered"
    )

    assert 0 == harmed
    assert 2 >= len(episodes)
    assert (seconds + 2 if action == "reset" else 0) >= len(refused)
    assert len(lines) == len(episodes) + len(refused)
    assert (action == "wait") is (len(waiting) > CLIENTS - DESCRIPTORS)
    assert 0.05 > spent / seconds
    assert 0 == server.end()
