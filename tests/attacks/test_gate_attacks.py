"""Too many peers, from one address and from many, too fast: T-25, T-26, T-27, T-89."""

import contextlib
import itertools
import logging
import os
import socket
import stat
import statistics
import tempfile
import threading
import time

import pytest

import penstock
from penstock.config import GateConfig, OverloadConfig
from penstock.engines.accept import ACCEPTS_PER_TURN
from penstock.testing.clock import ManualClock
from penstock.testing.peers import PATIENCE_S, read_exactly
from penstock.units import Rate


@penstock.on_message(codec="lines")
def echo(message):
    return message


@pytest.mark.parametrize(("action", "answer"), [("reset", "reset"), ("close", b"come later\n")])
def test_of_n_and_k_clients_exactly_n_are_served_and_k_are_told(
    serve, dial_from, tools, action, answer, engine, figure
):
    """T-25: all at once or one by one, overshoot 0; the answer comes within 50 ms; and the gauge returns to 0."""
    limit, more = 50, 30
    text = {} if action == "reset" else {"refusal_text": "come later"}
    with serve(echo, gate=GateConfig(max_connections=limit, on_refusal=(action,), **text)) as server:
        server.call(server.server.suspend)
        rush = [dial_from(server) for _ in range(limit + more)]
        server.call(server.server.resume)
        inside, outside = rush[:limit], rush[limit:]
        answers = [tools.ask(sock) for sock in inside]
        fates = [tools.fate(sock) for sock in outside]
        waited = []
        for _ in range(more):
            began = time.perf_counter()
            fates.append(tools.fate(dial_from(server)))
            waited.append(time.perf_counter() - began)
        still = [tools.ask(sock) for sock in inside]
        server.wait_until(lambda it: it.stats.refused.total() == 2 * more)
        most = server.server.stats.accepted
        for sock in inside:
            sock.close()
        server.wait_connections(0)
        gauge, refused = server.server.gate.open, dict(server.server.stats.refused)
    figure(
        f"T-25 {engine.label}: {limit} served, {more} {action} of {limit + more} at once, overshoot {most - limit}; "
        f"then {more} one by one, in {statistics.median(waited) * 1e3:.1f} ms, {max(waited) * 1e3:.1f} ms at most"
    )

    assert [b"ping\n"] * limit == answers == still
    assert [answer] * 2 * more == fates
    assert (limit, 0) == (most, gauge)
    assert {"limit": 2 * more} == refused
    assert 0.050 > statistics.median(waited)  # of the slowest, a busy machine decides


def test_at_the_limit_a_health_check_is_answered_and_nobody_else_has_its_places(
    serve, dial_from, tools, until, engine, figure
):
    """T-28: 100 checks from the address that has the reserve, while others want every place there is."""
    limit, reserve, checks = 50, 2, 100
    config = GateConfig(max_connections=limit, reserve_for=("127.0.0.99",), reserve=reserve)
    with serve(echo, gate=config) as server:
        inside = [dial_from(server) for _ in range(limit)]
        served = [tools.ask(sock) for sock in inside]
        answered, refused, waited = 0, 0, []
        for _ in range(checks):
            refused += tools.fate(dial_from(server)) == "reset"
            began = time.perf_counter()
            check = dial_from(server, "127.0.0.99")
            answered += tools.ask(check) == b"ping\n"
            waited.append(time.perf_counter() - began)
            refused += tools.fate(dial_from(server)) == "reset"
            check.close()
            until(server, lambda it: it.gate.open == limit)
        still = [tools.ask(sock) for sock in inside]
    figure(
        f"T-28 {engine.label}: {limit} of {limit} served, {answered} of {checks} checks answered in "
        f"{statistics.median(waited) * 1e3:.1f} ms, {max(waited) * 1e3:.1f} ms at most; {refused} others reset"
    )

    assert [b"ping\n"] * limit == served == still
    assert (checks, 2 * checks) == (answered, refused)
    assert 0.100 > statistics.median(waited)  # as above


def test_with_close_the_refused_read_why(serve, dial_from, tools):
    """A sentence and EOF instead of a reset, for a person or a client that shows it."""
    config = GateConfig(max_connections=1, on_refusal=("close",), refusal_text="too many, come later")
    with serve(echo, gate=config) as server:
        inside = dial_from(server)
        tools.ask(inside)
        refused = dial_from(server)

        assert b"too many, come later\n" == tools.fate(refused)
        assert b"ping\n" == tools.ask(inside)


def test_one_address_takes_its_share_and_others_get_in(serve, dial_from, tools, engine, figure):
    """T-26: 15 connections from one address; the 16th is reset, and gets in once one of them has left."""
    with serve(echo, gate=GateConfig(max_per_peer=15)) as server:
        greedy = [dial_from(server, "127.0.0.1") for _ in range(15)]
        assert [b"ping\n"] * 15 == [tools.ask(sock) for sock in greedy]

        sixteenth = tools.fate(dial_from(server, "127.0.0.1"))
        others = [tools.ask(dial_from(server, f"127.0.0.{host}")) for host in range(2, 22)]
        greedy.pop().close()
        server.wait_connections(14 + 20)
        once_one_left = tools.ask(dial_from(server, "127.0.0.1"))
        again = tools.fate(dial_from(server, "127.0.0.1"))
        server.wait_until(lambda it: it.stats.refused == {"per_peer": 2})
    entered = len([answer for answer in others if answer])
    figure(f"T-26 {engine.label}: 15 from one address, the 16th {sixteenth}, {entered} others in")

    assert ("reset", b"ping\n", "reset") == (sixteenth, once_one_left, again)
    assert [b"ping\n"] * 20 == others


def test_by_default_a_peer_on_this_machine_may_take_more_than_a_quarter(serve, dial_from, tools):
    """A proxy here stands for all its clients; the limit that holds for it is the whole one."""
    with serve(echo, gate=GateConfig(max_connections=12)) as server:
        answers = [tools.ask(dial_from(server)) for _ in range(12)]

        assert [b"ping\n"] * 12 == answers
        assert 3 == server.server.gate.rules.max_per_peer


def test_those_who_wait_are_served_in_the_order_they_came_and_none_is_lost(serve, dial_from, engine, figure):
    """The backlog is a queue: with ``wait``, room for 2 serves 60, first come, first served."""
    total = 60
    with serve(echo, gate=GateConfig(max_connections=2, on_refusal=("limit=wait",))) as server:
        peers = [dial_from(server) for _ in range(total)]
        for index, sock in enumerate(peers):
            sock.sendall(b"%d\n" % index)
        ports = [sock.getsockname()[1] for sock in peers]
        most = 0
        answers = []
        for sock in peers:
            answers.append(sock.recv(100))
            most = max(most, server.call(lambda: server.server.gate.open))
            sock.close()
        order = [event.connection.peer.port for event in server.record.of(penstock.EventName.ACCEPTED)]
        stats = server.server.stats
    figure(f"T-25 {engine.label} wait: {len(answers)} of {total} served, at most {most} at once, 0 out of order")

    assert [b"%d\n" % index for index in range(total)] == answers
    assert ports == order
    assert 2 >= most
    assert (total, 0) == (stats.accepted, stats.refused.total())


@pytest.mark.engines("pure", "uvloop", "native")  # elsewhere the connections have threads of their own
def test_a_rush_of_new_connections_keeps_nobody_waiting(serve, dial_from, until, tools, engine, figure):
    """T-27: of a full backlog a few are accepted, then those who are in have their turn, then a few more."""
    rush, lines = 400, 4000
    go, order = threading.Event(), []

    @penstock.on_message(codec="lines")
    def busy(message):
        if message == b"hold":
            assert go.wait(PATIENCE_S)
        order.append("message")
        return message

    class Watching:
        def observe(self, event, /):
            if event.name is penstock.EventName.ACCEPTED:
                order.append("accepted")

    with serve(busy, overload=OverloadConfig(stall_s=None)) as server:
        inside = dial_from(server)
        assert b"ping\n" == tools.ask(inside)
        server.server._observers.append(Watching())
        inside.sendall(b"hold\n")
        for _ in range(rush):
            dial_from(server)
        inside.sendall(b"a line\n" * lines)
        go.set()
        assert b"hold\n" + b"a line\n" * lines == read_exactly(inside, 5 + 7 * lines)
        until(server, lambda it: it.stats.accepted == rush + 1)
    runs = [len(list(run)) for kind, run in itertools.groupby(order) if kind == "accepted"]
    meanwhile = sum(runs[:-1] if order[-1] == "accepted" else runs)
    most = max(runs[:-1] if order[-1] == "accepted" else runs)
    figure(
        f"T-27 {engine.label}: {rush} in the backlog beside one with {lines} lines: {meanwhile} accepted before its "
        f"last line, at most {most} at once"
    )

    assert 0 < most <= 2 * ACCEPTS_PER_TURN


def test_a_rate_admits_a_burst_and_then_an_even_flow_to_the_tick(serve, dial_from, until, engine, figure):
    """T-27: ten a second means ten, and ten more in the next second, whatever comes."""
    clock = ManualClock()
    config = GateConfig(accept_rate=Rate(10), on_refusal=("rate=wait",))
    with serve(echo, gate=config, clock=clock) as server:
        peers = [dial_from(server) for _ in range(25)]
        server.wait_until(lambda it: it.stats.accepted == 10)
        server.call(lambda: clock.advance(0.05))
        at_once = server.call(lambda: server.server.stats.accepted)
        server.call(lambda: clock.advance(0.45))
        server.wait_until(lambda it: it.stats.accepted == 15)
        server.call(lambda: clock.advance(1.0))
        server.wait_until(lambda it: it.stats.accepted == 25)
        for sock in peers:
            sock.close()
        server.wait_connections(0)
    figure(f"T-27 {engine.label}: 25 at once at 10/s: 10 at 0 s, 15 at 0.5 s, 25 at 1.5 s")

    assert 10 == at_once


def test_a_peer_that_connects_too_often_is_refused_and_others_are_not(serve, dial_from, tools):
    """Its own bucket is empty; theirs are not."""
    clock = ManualClock()
    with serve(echo, gate=GateConfig(accept_rate_per_peer=Rate(5, 60.0)), clock=clock) as server:
        flood = [tools.ask(dial_from(server, "127.0.0.9")) for _ in range(20)]
        other = tools.ask(dial_from(server, "127.0.0.10"))

        assert [b"ping\n"] * 5 + [None] * 15 == flood
        assert b"ping\n" == other
        server.wait_until(lambda it: it.stats.refused == {"peer_rate": 15})


def test_networks_decide_who_may_connect_and_a_file_is_read_again_when_it_changes(
    serve, dial_from, tools, until, tmp_path, monkeypatch, caplog
):
    """The longest prefix wins; an operator edits the list while the server runs; a broken list changes nothing."""
    monkeypatch.setattr("penstock.server.access_files.FOLLOW_S", 0.01)
    path, new = tmp_path / "deny.txt", tmp_path / "deny.txt.new"
    path.write_text("127.0.0.8/30  # a street\n")
    config = GateConfig(deny=(f"@{path}",), allow=("127.0.0.0/8", "127.0.0.9"))
    with serve(echo, gate=config) as server, caplog.at_level(logging.INFO, logger="penstock"):
        gate = server.server.gate

        def served():
            return [host for host in (1, 9, 10) if tools.ask(dial_from(server, f"127.0.0.{host}"))]

        def put(text):
            new.write_text(text)
            new.replace(path)  # there is no moment in which half of it is there

        def once_logged(text):
            until(server, lambda it: text in caplog.text)
            caplog.clear()
            return served()

        assert [1, 9] == served()
        before = gate.rules
        put("127.0.0.1\n")
        assert [9, 10] == once_logged("networks reloaded")
        assert before is not gate.rules
        put("127.0.0.10\n127.0.0.\n")
        assert [9, 10] == once_logged(f"networks unchanged: {path}:2: '127.0.0.' is not a network")
        put("::ffff:127.0.0.10/128  # as a socket for both shows it\n")
        assert [1, 9] == once_logged("networks reloaded")
        path.unlink()
        assert [1, 9] == once_logged(f"networks unchanged: {path}: cannot be read")
        put("")
        assert [1, 9, 10] == once_logged("networks reloaded")
        server.wait_until(lambda it: it.stats.refused == {"denied": 5})


def test_rules_change_while_the_server_runs(serve, dial_from, tools):
    """Live: what is open stays open, what waits comes in at once."""
    with serve(echo, gate=GateConfig(max_connections=1, on_refusal=("limit=wait",))) as server:
        first, second = dial_from(server), dial_from(server)
        assert b"ping\n" == tools.ask(first)
        server.call(lambda: server.server.gate.set(max_connections=2))

        assert b"ping\n" == tools.ask(second)
        assert b"ping\n" == tools.ask(first)


@pytest.mark.parametrize("me", [f"uid:{os.getuid()}", f"gid:{os.getgid()}"])
@pytest.mark.parametrize("scheme", ["unix", "unix+seqpacket"])
def test_unix_peers_are_judged_by_their_user_and_their_group(serve, tmp_path, scheme, me):
    """T-89: SO_PEERCRED, which a peer cannot choose."""
    kind = socket.SOCK_STREAM if scheme == "unix" else socket.SOCK_SEQPACKET
    path = tmp_path / "s"

    def attempt():
        with socket.socket(socket.AF_UNIX, kind) as sock:
            sock.settimeout(20)
            sock.connect(str(path))
            try:
                sock.sendall(b"ping\n")
                return sock.recv(100)
            except (ConnectionResetError, BrokenPipeError):
                return b""

    with serve(echo, bind=f"{scheme}:{path}", gate=GateConfig(deny=(me,))) as server:
        assert b"" == attempt()
        server.wait_until(lambda it: it.stats.refused == {"denied": 1})
    with serve(echo, bind=f"{scheme}:{path}", gate=GateConfig(allow=(me,))):
        assert attempt()


NOBODY = 65534


@contextlib.contextmanager
def as_nobody():
    """Whoever connects from in here is another user, of another group."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("scheme", ["unix", "unix+seqpacket"])
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"deny": (f"uid:{NOBODY}",)}, ["root"]),
        ({"deny": ("gid:0",)}, ["nobody"]),
        ({"allow": (f"gid:{NOBODY}",)}, ["nobody"]),
        ({"allow": ("uid:0",)}, ["root"]),
        ({"allow": ("uid:0", f"gid:{NOBODY}"), "deny": (f"uid:{NOBODY}",)}, ["root"]),
    ],
)
def test_of_two_users_the_one_is_let_in_that_is_named(serve, scheme, rules, expected, engine):
    """T-89: an abstract name has no permissions, so the gate is all there is."""
    kind = socket.SOCK_STREAM if scheme == "unix" else socket.SOCK_SEQPACKET
    name = f"penstock-test-{os.getpid()}"
    found = []
    with serve(echo, bind=f"{scheme}:@{name}", gate=GateConfig(**rules)) as server:
        for who, being in (("root", contextlib.nullcontext()), ("nobody", as_nobody())):
            with socket.socket(socket.AF_UNIX, kind) as sock, contextlib.suppress(OSError):
                sock.settimeout(20)
                with being:
                    sock.connect(f"\0{name}")
                sock.sendall(b"ping\n")
                if sock.recv(100):
                    found.append(who)
        server.wait_until(lambda it: it.stats.refused == {"denied": 1})

    assert expected == found


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_a_socket_file_is_its_users_alone(serve, opened, engine):
    """T-89: mode 0600, from the first moment on; nobody else can even connect."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with serve(echo, bind=f"unix:{directory}/s") as server:
            with socket.socket(socket.AF_UNIX) as sock, as_nobody(), pytest.raises(PermissionError):
                sock.connect(f"{directory}/s")
            mine = server.dial()
            opened.append(mine)
            mine.sendall(b"ping\n")

            assert 0o600 == stat.S_IMODE(os.stat(f"{directory}/s").st_mode)
            assert b"ping\n" == mine.recv(100)
            assert 1 == server.server.stats.accepted


@pytest.mark.parametrize("scheme", ["tcp", "unix", "unix+seqpacket"])
def test_the_total_holds_on_every_transport(serve, opened, tmp_path, scheme):
    """One enforcement point: no transport is a way around it."""
    bind = "tcp://127.0.0.1:0" if scheme == "tcp" else f"{scheme}:{tmp_path}/s"
    with serve(echo, bind=bind, gate=GateConfig(max_connections=3)) as server:
        opened.extend(server.dial() for _ in range(3))
        server.wait_connections(3)
        for _ in range(4):
            opened.append(server.dial())
        server.wait_until(lambda it: it.stats.refused.total() == 4)
        for sock in opened:
            sock.close()
        server.wait_connections(0)

        assert 3 == server.server.stats.accepted


def test_what_the_kernel_is_told_holds_for_what_is_accepted(serve, dial_from, tools):
    """A peer whose power failed is found out: 60 s, 4 questions 15 s apart, 30 s for output; 256 KiB for one slow."""
    with serve(echo) as server:
        peer = dial_from(server)
        tools.ask(peer)
        accepted = server_side_of(peer)
        with accepted:
            tcp = socket.IPPROTO_TCP
            found = [
                accepted.getsockopt(level, option)
                for level, option in (
                    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    (tcp, socket.TCP_KEEPIDLE),
                    (tcp, socket.TCP_KEEPINTVL),
                    (tcp, socket.TCP_KEEPCNT),
                    (tcp, socket.TCP_USER_TIMEOUT),
                    (tcp, socket.TCP_NOTSENT_LOWAT),
                )
            ]

    assert [1, 60, 15, 4, 30_000, 256 * 1024] == found


def server_side_of(peer):
    """Find the other end of a connection among this process's descriptors."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is gone by now
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        try:
            if sock.family == socket.AF_INET and sock.getpeername() == peer.getsockname():
                return sock
        except OSError:
            pass
        sock.close()
    raise AssertionError("not found")
