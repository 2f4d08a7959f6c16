"""T-32: more handlers that block than there are threads for them."""

import threading

import pytest

import penstock
from penstock.config import GateConfig, Limits
from penstock.testing.peers import PATIENCE_S, read_exactly

THREADS, PEERS = 8, 200


def test_handlers_that_block_wait_for_a_thread_and_who_is_too_many_is_refused(
    serve, dial_from, tools, until, engine, figure
):
    """At most as many at work as there are threads, at most one waiting for each connection, and none is lost."""
    more = 50
    lock, go = threading.Lock(), threading.Event()
    working, most = 0, 0

    @penstock.on_message(codec="lines")
    def block(message):
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        assert go.wait(PATIENCE_S)
        with lock:
            working -= 1
        return message

    # On the blocking engine who has no thread stays in the backlog: there the limit is the number of threads.
    waits = engine.name == "blocking"
    gate = GateConfig(max_connections=PEERS)
    with serve(block, model="threads", threads=THREADS, gate=gate) as server:
        peers = [dial_from(server) for _ in range(PEERS)]
        for index, sock in enumerate(peers):
            sock.sendall(b"%d\n%d\n" % (index, index))  # of one connection no two are at work
        until(server, lambda it: it.stats.accepted == (THREADS if waits else PEERS) and most == THREADS)
        fates = [] if waits else [tools.fate(dial_from(server)) for _ in range(more)]
        at_work = most
        go.set()
        answers = []
        for index, sock in enumerate(peers):
            answers.append(read_exactly(sock, len(b"%d\n" % index) * 2))
            sock.close()
        refused = dict(server.server.stats.refused)
    figure(
        f"T-32 {engine.label}: {PEERS} handlers that block, {THREADS} threads: {at_work} at work, the others wait in "
        f"{'the backlog' if waits else 'a queue'}; {len([answer for answer in answers if answer])} answered, "
        f"{len(fates)} too many reset"
    )

    assert [b"%d\n%d\n" % (index, index) for index in range(PEERS)] == answers
    assert THREADS == at_work == most
    assert ["reset"] * len(fates) == fates
    assert ({} if waits else {"limit": more}) == refused


# At once, as limits.read_bytes says, but for uvloop, which reads as it likes.
READ_BYTES = {"pure": 16 * 1024, "uvloop": 256_000, "native": 16 * 1024}


@pytest.mark.engines("pure", "uvloop", "native")  # elsewhere a thread reads when it has handled what it read before
def test_a_flood_to_handlers_that_block_stays_with_the_kernel(serve, dial_from, until, engine, figure):
    """Of each connection two reads at most are held until there is a thread for it; every message has its answer."""
    count, line, most = 4, b"x" * 1023 + b"\n", READ_BYTES[engine.label]
    flood = line * (8 * most // len(line))
    go = threading.Event()

    @penstock.on_message(codec="lines")
    def block(message):
        assert go.wait(PATIENCE_S)
        return message

    with serve(block, model="threads", threads=2, limits=Limits(read_bytes=most)) as server:
        peers = [dial_from(server) for _ in range(count)]
        senders = [threading.Thread(target=sock.sendall, args=(flood,)) for sock in peers]
        for sock in peers:
            sock.sendall(line * 3)
        until(server, lambda it: [3 * len(line)] * count == [conn.bytes_in for conn in it.connections])
        for _ in range(20):  # turns of the loop, in which each takes the first of them
            server.call(lambda: None)
        for sender in senders:
            sender.start()
        until(server, lambda it: len([conn for conn in it.connections if conn.bytes_in > most]) == count)
        for _ in range(20):  # turns of the loop, in which it could read on
            server.call(lambda: None)
        held = server.call(lambda: [conn.held_bytes for conn in server.server.connections])
        came = server.call(lambda: [conn.bytes_in for conn in server.server.connections])
        go.set()
        answers = [read_exactly(sock, 3 * len(line) + len(flood)) for sock in peers]
        for sender in senders:
            sender.join(PATIENCE_S)
        for sock in peers:
            sock.close()
    figure(
        f"T-32 {engine.label}: {count} peers that send {len(flood) // 1024} KiB each to handlers that block: "
        f"{max(held) / 1024:.0f} KiB of each are held at most"
    )

    assert max(came) <= 3 * len(line) + 2 * most
    assert max(came) - len(line) <= max(held) <= max(came)  # with the message at hand or without
    assert [3 * line + flood] * count == answers


def last_word(sock):
    """Return the answer that was waited for, and leave, so that another one gets the thread."""
    with sock:
        return read_exactly(sock, 5)


@pytest.mark.engines("pure", "uvloop", "native")  # elsewhere each address has threads of its own
def test_who_needs_no_thread_is_answered_while_all_of_them_are_busy(serve, dial_from, tools, opened, engine, figure):
    """A pool that is exhausted is the matter of those who use it: another address of the process is served."""
    go = threading.Event()

    @penstock.on_message(codec="lines")
    def block(message):
        assert go.wait(PATIENCE_S)
        return message

    @penstock.on_message(codec="lines")
    def answer(message):
        return message

    answers = 0
    with serve(answer) as free:
        with free.dial() as sock:  # its loop has what it needs
            assert b"ping\n" == tools.ask(sock)
        free.wait_connections(0)
        with serve(block, model="threads", threads=THREADS) as busy:
            stuck = [dial_from(busy) for _ in range(THREADS * 2)]
            for sock in stuck:
                sock.sendall(b"ping\n")
            for _ in range(100):
                with free.dial() as sock:
                    answers += tools.ask(sock) == b"ping\n"
            free.wait_connections(0)
            go.set()
            late = [last_word(sock) for sock in stuck]
    figure(f"T-32 {engine.label}: all {THREADS} threads busy: another address of the process answers {answers} of 100")

    assert 100 == answers
    assert [b"ping\n"] * len(stuck) == late
