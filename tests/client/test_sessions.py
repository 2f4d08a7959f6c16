"""Sessions of TLS that go on: for whom they are kept, how many, and that nobody goes on with another one's."""

import asyncio
import gc
import ssl
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock import ClientTls
from penstock.address import parse_address
from penstock.client import sessions as module
from penstock.client.sessions import Sessions, sessions_of
from penstock.client.tls import Handshake, _context_of
from penstock.core.events import EventName
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.served import served
from penstock.testing.thread import PATIENCE_S, ServerThread

pytest.importorskip("trustme")
engines = pytest.mark.parametrize("engine", ALL_ENGINES, ids=lambda engine: engine.label)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans())))
def test_each_is_taken_once_the_newest_first(steps):
    """By whom it is for; beyond the limits the oldest of a server, and the server used least lately, are forgotten."""
    sessions, model = Sessions(most_servers=3, most_each=2), {}
    for number, (key, is_kept) in enumerate(steps):
        if is_kept:
            sessions.keep(key, number)
            model[key] = [*model.pop(key, []), number][-2:]
            if len(model) > 3:
                del model[next(iter(model))]
        else:
            kept = model.pop(key, [])
            assert (kept.pop() if kept else None) == sessions.take(key)
            if kept:
                model[key] = kept

        assert sum(map(len, model.values())) == len(sessions)


@pytest.fixture
def server(engine):
    """An echo over TLS, on each engine; what was kept before is forgotten."""
    if engine.missing:
        pytest.skip(engine.missing)
    _context_of.cache_clear()

    @penstock.on_message(codec="lines")
    def echo(message):
        return message

    with served(
        echo, engine=engine.name, loop_factory=engine.loop_factory, bind="tls://127.0.0.1:0",
        tls_cert=server_certificate(),
    ) as server:  # fmt: skip
        yield server
    _context_of.cache_clear()


def ask(engine, address, tls, times=2):
    """Connect as often, one after the other, and ask once each time; return what was agreed."""
    agreed = []
    if engine.name == "blocking":
        for _ in range(times):
            with penstock.connect_sync(address, codec="lines", tls=tls) as conn:
                assert b"a" == conn.request(b"a", 20)
                agreed.append(conn.tls)
        return agreed

    async def main():
        for _ in range(times):
            async with asyncio.timeout(20), await penstock.connect(address, codec="lines", tls=tls) as conn:
                assert b"a" == await conn.request(b"a")
                agreed.append(conn.tls)

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        runner.run(main())
    return agreed


def options(**more):
    return ClientTls(ca=authority().ca, server_name="localhost", **more)


def kept_by(address, tls):
    """Return what is kept for connections with these options, and the key of those to the address."""
    handshake = Handshake(parse_address(address), tls)
    return sessions_of(handshake._context), handshake._key


@engines
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_next_connection_goes_on_with_the_session(server, engine, version):
    """And knows who the peer is, as the first one did."""
    context = authority().client()
    context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    tls = ClientTls(context=context, server_name="localhost", resume=True)
    first, second, third = ask(engine, server.address, tls, 3)

    assert [False, True, True] == [each.resumed for each in (first, second, third)]
    assert [f"TLSv{version}"] * 3 == [each.version for each in (first, second, third)]
    assert first.certificate == second.certificate == third.certificate
    assert first.certificate is not None


@engines
def test_a_pin_holds_for_one_that_goes_on(server, engine):
    """The key is that of the session's certificate."""
    (shown,) = ask(engine, server.address, options(), 1)
    tls = options(pins=(shown.certificate.pin,))

    assert [False, True] == [each.resumed for each in ask(engine, server.address, tls)]


@engines
def test_nobody_goes_on_with_what_was_agreed_otherwise(server, engine):
    """Unverified, for another name, or with other options; nor where it is not wanted."""
    unverified = ask(engine, server.address, ClientTls(verify=False, server_name="localhost"), 1)
    others = [options(), options(minimum="1.3"), ClientTls(ca=authority().ca, server_name="127.0.0.1")]
    seen = [ask(engine, server.address, tls, 1) for tls in others]
    never = ask(engine, server.address, options(resume=False), 2)

    assert [False] * 6 == [each.resumed for agreed in (unverified, *seen, never) for each in agreed]


@engines
def test_what_a_context_verifies_may_be_changed(server, engine):
    """A session of before, whose peer nobody has verified, is none of those after."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tls = ClientTls(context=context, server_name="localhost", resume=True)
    before = [each.resumed for each in ask(engine, server.address, tls)]
    context.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(penstock.ConnectError):
        ask(engine, server.address, tls, 1)

    assert [False, True] == before


@engines
def test_tickets_that_a_server_no_longer_knows_cost_nothing_but_themselves(server, engine):
    """It has started again, with other keys: the handshake is done in full."""
    before = ask(engine, server.address, options())
    port = server.port
    sessions, key = kept_by(server.address, options())
    kept = len(sessions)
    # Its descriptors are not counted: the first server may open those that its next connection needs meanwhile.
    with ServerThread(
        penstock.on_message(lambda message: message, codec="lines"), engine=engine.name,
        loop_factory=engine.loop_factory, bind="tls://127.0.0.1:0", tls_cert=server_certificate(),
    ) as other:  # fmt: skip
        assert port in key[1]
        sessions.keep(kept_by(other.address, options())[1], sessions.take(key))
        after = ask(engine, other.address, options())

    assert kept > 0
    assert ([False, True], [False, True]) == ([e.resumed for e in before], [e.resumed for e in after])


@pytest.mark.parametrize("engine", ALL_ENGINES[:1], ids=["pure"])
def test_a_client_and_a_pool_go_on_too(server, engine):
    """They connect as everybody does."""

    async def main():
        agreed = []
        for _ in range(2):
            async with asyncio.timeout(20), penstock.Client(server.address, codec="lines", tls=options()) as client:
                assert b"a" == await client.request(b"a")
            agreed.append(len(kept_by(server.address, options())[0]))
        async with asyncio.timeout(20), penstock.Pool(server.address, codec="lines", tls=options()) as pool:
            assert [b"a"] * 4 == await asyncio.gather(*(pool.request(b"a") for _ in range(4)))
        return agreed

    kept = asyncio.run(main())
    server.reasons(3)
    ended = sorted(event.connection.id for event in server.record.of(EventName.CLOSED))
    known = {event.connection.id: event.connection.tls.resumed for event in server.record.of(EventName.CLOSED)}
    resumed = [known[number] for number in ended]

    assert [1, 1] == kept
    assert [False, True] == resumed[:2]
    assert True in resumed[2:]


@engines
@pytest.mark.parametrize("resume", [None, True])
def test_a_context_of_the_users_goes_on_only_where_that_is_asked_for(engine, resume):
    """It may be loaded with another certificate, which cannot be seen: a session would go on as the one before."""
    if engine.missing:
        pytest.skip(engine.missing)
    seen = []

    @penstock.on_message(codec="lines")
    def note(conn, message):
        seen.append(conn.tls.certificate.names)
        return message

    names = ["alice@example.org", "bob@example.org"]
    context = authority().client()
    tls = ClientTls(context=context, server_name="localhost", resume=resume)
    with served(
        note, engine=engine.name, loop_factory=engine.loop_factory, bind="tls://127.0.0.1:0",
        tls_cert=server_certificate(), tls_client_ca=authority().ca,
    ) as server:  # fmt: skip
        resumed = []
        for name in names:
            context.load_cert_chain(authority().issue(name.partition("@")[0], name))
            resumed += [each.resumed for each in ask(engine, server.address, tls, 1)]

    assert ([False, bool(resume)], [(names[0],), (names[0 if resume else 1],)]) == (resumed, seen)


@engines
def test_sessions_go_with_their_context(server, engine):
    """Each holds it, with all the authorities that it believes."""
    context = authority().client()
    ask(engine, server.address, ClientTls(context=context, server_name="localhost", resume=True), 1)
    kept = len(sessions_of(context))
    gone = weakref.ref(context)
    del context
    gc.collect()

    assert (1, None) == (kept, gone())


@engines
def test_a_session_that_has_expired_is_forgotten(server, engine, monkeypatch):
    """Its server would refuse it."""
    ask(engine, server.address, options(), 1)
    sessions, _ = kept_by(server.address, options())
    before = len(sessions)
    monkeypatch.setattr(module, "has_expired", lambda _: True)
    monkeypatch.setattr("penstock.client.tls.has_expired", module.has_expired)
    after = ask(engine, server.address, options(), 1)

    assert (1, 1, [False]) == (before, len(sessions), [each.resumed for each in after])


@pytest.mark.parametrize(("age_s", "expired"), [(0, False), (299, False), (300, True)])
def test_a_session_lives_as_long_as_its_server_says(age_s, expired, monkeypatch):
    """By the clock of the day, in which it says when it was made."""

    class Session:
        time = 1_000
        timeout = 300

    monkeypatch.setattr(module.time, "time", lambda: 1_000.0 + age_s)

    assert expired == module.has_expired(Session())


FORK = """
import os, ssl
from penstock.client.sessions import sessions_of
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
sessions = sessions_of(context)
sessions.keep("key", "of the parent")
with sessions._lock:
    child = os.fork()
    if child == 0:
        sessions_of(context).keep("key", "of the child")
        os._exit(len(sessions_of(context)))
    status = os.waitpid(child, 0)[1]
print(os.waitstatus_to_exitcode(status), len(sessions_of(context)), sessions_of(context).take("key"))
"""


def test_a_child_keeps_nothing_of_its_parents_and_waits_for_no_lock_of_it():
    """Both would show the same ticket; and a lock that was held at the fork is held for ever there."""
    told = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True)

    assert "1 1 of the parent\n" == told.stdout


@engines
def test_a_session_that_cannot_be_kept_costs_nothing_but_itself(server, engine, monkeypatch):
    """The reply that came with it is received, and the connection ends as ever."""

    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(Sessions, "keep", refuse)
    agreed = ask(engine, server.address, options())

    assert [False, False] == [each.resumed for each in agreed]
    assert ["peer_closed"] * 2 == list(server.reasons(2))


@pytest.mark.parametrize("outer", ["take", "keep"])
@pytest.mark.parametrize("inner", ["take", "keep"])
def test_a_signal_handler_may_connect_while_another_connection_takes_or_keeps_one(outer, inner):
    """It waits for no lock of its own thread, and no session is taken twice."""

    acts = []

    class Kept(OrderedDict):
        def pop(self, *args):
            found = super().pop(*args)
            if acts:
                acts.pop()()
            return found

    sessions, taken = Sessions(), []
    sessions._kept = Kept(sessions._kept)
    calls = {"take": lambda: taken.append(sessions.take("key")), "keep": lambda: sessions.keep("key", "new")}
    sessions.keep("key", "old")
    acts.append(calls[inner])
    thread = threading.Thread(target=calls[outer], daemon=True)
    thread.start()
    thread.join(PATIENCE_S)

    assert not thread.is_alive()
    while (left := sessions.take("key")) is not None:
        taken.append(left)
    expected = ["old", *["new"] * [outer, inner].count("keep")]
    assert sorted(expected) == sorted(each for each in taken if each is not None)
