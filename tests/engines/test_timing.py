"""Places among ``max_handshakes``: each is given back, though it could not be at once."""

import pytest

import penstock
from penstock.core.gate import Handshake
from penstock.core.law.deadlines import Deadlines
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.peers import dial
from penstock.testing.served import served

engines = pytest.mark.parametrize("engine", ALL_ENGINES, ids=lambda engine: engine.label)


@pytest.fixture
def refused(monkeypatch):
    """The next calls that are refused for want of memory: as many "end" and "begin" as this holds."""
    due = []

    def refusing(kind, call):
        def step(self, *arguments):
            if kind in due:
                due.remove(kind)
                raise MemoryError
            return call(self, *arguments)

        return step

    monkeypatch.setattr(Handshake, "end", refusing("end", Handshake.end))
    monkeypatch.setattr(Deadlines, "_begins_handshake", refusing("begin", Deadlines._begins_handshake))
    return due


@pytest.fixture
def interrupted(monkeypatch):
    """Have a signal handler begin the next handshake while a place is given back."""
    end = Handshake.end

    def step(self):
        end(self)
        if begun_meanwhile:
            begun_meanwhile.pop()()

    monkeypatch.setattr(Handshake, "end", step)


begun_meanwhile = []


class Gated(penstock.Handler[bytes]):
    """Begins and ends its handshake as its peer says, and answers with how that went."""

    def on_message(self, conn, message):
        if message == b"anew":
            begun_meanwhile.append(conn.begin_handshake)
        try:
            (conn.begin_handshake if message == b"begin" else conn.end_handshake)()
        except MemoryError:
            return b"refused"
        return b"done"


@pytest.fixture
def served_gated(engine):
    if engine.missing:
        pytest.skip(engine.missing)
    service = penstock.as_service(Gated, codec="lines")
    with served(service, engine=engine.name, loop_factory=engine.loop_factory, bind="tcp://127.0.0.1:0") as server:
        yield server


def places(server):
    return server.call(lambda: server.server.gate.handshakes)


def told(peer, answers, *lines):
    found = []
    for line in lines:
        peer.sendall(line + b"\n")
        found.append(answers.readline())
    return found


@engines
def test_a_place_that_could_not_be_given_back_is_so_when_that_is_asked_for_again(served_gated, refused):
    """The handshake is over for its deadline the first time, and for the gate the second time."""
    with dial(served_gated.address) as peer, peer.makefile("rb") as answers:
        refused.append("end")
        found = told(peer, answers, b"begin", b"end")
        held = places(served_gated)
        found += told(peer, answers, b"end")
        left = places(served_gated)

    assert ([b"done\n", b"refused\n", b"done\n"], 1, 0) == (found, held, left)


@engines
def test_a_place_that_could_not_be_given_back_ends_with_its_connection(served_gated, refused):
    """Else nobody could ever have it again."""
    with dial(served_gated.address) as peer, peer.makefile("rb") as answers:
        refused.append("end")
        found = told(peer, answers, b"begin", b"end")
    served_gated.reasons(1)
    served_gated.wait_until(lambda server: not server.gate.handshakes)

    assert [b"done\n", b"refused\n"] == found


@pytest.mark.parametrize("engine", [each for each in ALL_ENGINES if each.name != "native"], ids=lambda each: each.label)
@pytest.mark.parametrize("how", [["begin"], ["begin", "end"]], ids=["undone", "undone at the end"])
def test_a_handshake_that_could_not_begin_holds_no_place(served_gated, refused, how):
    """Nothing would end it: it has no deadline."""
    with dial(served_gated.address) as peer, peer.makefile("rb") as answers:
        refused.extend(how)
        found = told(peer, answers, b"begin")
        held = places(served_gated)
    served_gated.reasons(1)
    served_gated.wait_until(lambda server: not server.gate.handshakes)

    assert ([b"refused\n"], len(how) - 1) == (found, held)


@engines
def test_a_handshake_that_begins_while_the_last_one_ends_has_a_place_of_its_own(served_gated, interrupted):
    """A signal handler begins it; it holds a place until it has ended itself."""
    with dial(served_gated.address) as peer, peer.makefile("rb") as answers:
        found = told(peer, answers, b"begin", b"anew")
        held = places(served_gated)
        found += told(peer, answers, b"end")
        left = places(served_gated)

    assert ([b"done\n"] * 3, 1, 0) == (found, held, left)
