"""T-48 with other implementations: both versions, every certificate, in both directions."""

import asyncio
import subprocess

import pytest

import penstock
from penstock import ClientTls
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.peers import PATIENCE_S
from penstock.testing.served import served

pytest.importorskip("trustme")
pytestmark = pytest.mark.outside

versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """An authority that the other end does not know."""
    return type(authority())(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def shown(strangers):
    """Certificates of clients, by what is the matter with them."""
    ours = authority()
    return {
        "right": ours.issue("m-right", "c@example.org"),
        "missing": None,
        "expired": ours.issue("m-expired", "c@example.org", days=-0.5),
        "another authority": strangers.issue("m-stranger", "c@example.org"),
        "another name": ours.issue("m-other", "other@example.org"),
        "revoked": ours.issue("m-revoked", "c@example.org"),
    }


@pytest.fixture(scope="module")
def revoked(shown):
    """The list of what was revoked."""
    return authority().revoke("m-crl", shown["revoked"])


@penstock.on_message(codec="lines")
def name_it(conn, message):
    """Say who the client is by its certificate."""
    conn.post(message + b" " + " ".join(conn.tls.certificate.names if conn.tls.certificate else ()).encode())
    conn.close()


def serve(engine, **options):
    return served(name_it, engine=engine.name, loop_factory=engine.loop_factory, bind="tls://127.0.0.1:0", **options)


def printed_by(command):
    """Run a client until its server closes; return what it printed."""
    return subprocess.run(command, input=b"hello\n", capture_output=True, timeout=PATIENCE_S).stdout


@versions
def test_their_clients_are_served_as_who_they_are_or_not_at_all(engine, peer, version, shown, revoked):
    """Our server: what a name may do is the handler's to judge; with anything else wrong no handler is called."""
    ca = authority().ca
    with serve(engine, tls_cert=server_certificate(), tls_client_ca=ca, tls_crl=revoked) as server:
        outcomes = {}
        for number, (which, cert) in enumerate(shown.items(), 1):
            answer = printed_by(peer.client(version, server.port, "localhost", ca, cert))
            outcomes[which] = answer or str(server.reasons(number)[-1])
        messages = server.call(lambda: server.server.messages_in)

    names = {"right": b"c@example.org", "another name": b"other@example.org"}
    assert {which: b"hello %s\n" % names[which] if which in names else "tls_certificate" for which in shown} == outcomes
    assert 2 == messages


@versions
def test_their_clients_refuse_a_server_that_is_not_the_one(engine, peer, version, strangers):
    """Our server, with a certificate for each name: nothing is delivered, and the handshake has failed."""
    ours = authority()
    certificates = [
        server_certificate(),
        ours.issue("m-past", "past.example", days=-0.5),
        strangers.issue("m-strange", "strange.example"),
    ]
    with serve(engine, tls_cert=certificates) as server:
        outcomes = {}
        for name in ("localhost", "past.example", "strange.example", "elsewhere.example"):
            outcomes[name] = printed_by(peer.client(version, server.port, name, ours.ca))
        reasons = server.reasons(4)
        messages = server.call(lambda: server.server.messages_in)

    assert {"localhost": b"hello \n"} == {name: answer for name, answer in outcomes.items() if answer}
    assert {True} == {reason.startswith("tls_") for reason in reasons[1:]}
    assert 1 == messages


@versions
def test_their_servers_take_us_for_who_we_are_or_say_why_not(engine, peer, version, shown, revoked, started):
    """Our client, in TLS 1.3 after its own handshake is done: a certificate, or that none came, is what is wrong."""
    ours = authority()
    port = started(peer.server(version, ours.ca, server_certificate(), revoked))
    asked = {which: ClientTls(ca=ours.ca, cert=cert, resume=False) for which, cert in shown.items()}
    if not peer.revokes:
        del asked["revoked"]
    outcomes = all_asked(engine, port, asked)

    served = {which for which, outcome in outcomes.items() if outcome == peer.answer}
    assert {"right", "another name"} == served
    assert set() == {outcomes[which] for which in asked.keys() - served} - {"tls_certificate", "tls_handshake"}


@versions
def test_their_servers_are_who_they_should_be_or_are_refused(engine, peer, version, shown, revoked, strangers, started):
    """Our client: nothing is sent, and it says what is wrong."""
    ours = authority()
    right = started(peer.server(version, ours.ca, server_certificate(), revoked))
    past = started(peer.server(version, ours.ca, ours.issue("m-late", "localhost", days=-0.5), revoked))
    shows = {"cert": shown["right"], "resume": False}
    outcomes = all_asked(
        engine,
        right,
        {
            "right": ClientTls(ca=ours.ca, **shows),
            "another authority": ClientTls(ca=strangers.ca, **shows),
            "another name": ClientTls(ca=ours.ca, server_name="elsewhere.example", **shows),
            "another key": ClientTls(ca=ours.ca, pins=(f"sha256/{'A' * 43}=",), **shows),
            "nobody that the system knows": ClientTls(**shows),
        },
    ) | all_asked(engine, past, {"expired": ClientTls(ca=ours.ca, **shows)})

    assert peer.answer == outcomes.pop("right")
    assert {"tls_certificate"} == set(outcomes.values())


def all_asked(engine, port, ways):
    """Say hello in each way; return the answers, or with which reason there was none."""
    address = f"tls://localhost:{port}?family=ipv4"
    if engine.name == "blocking":
        return {which: asked_blocking(address, tls) for which, tls in ways.items()}
    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        return {which: runner.run(asked(address, tls)) for which, tls in ways.items()}


async def asked(address, tls):
    try:
        async with await penstock.connect(address, codec="lines", tls=tls) as conn:
            await conn.send(b"hello")
            return await conn.receive(PATIENCE_S)
    except (penstock.ConnectError, penstock.ConnectionEndedError) as error:
        return why(error)


def asked_blocking(address, tls):
    try:
        with penstock.connect_sync(address, codec="lines", tls=tls) as conn:
            conn.send(b"hello")
            return conn.receive(PATIENCE_S)
    except (penstock.ConnectError, penstock.ConnectionEndedError) as error:
        return why(error)


def why(error):
    return str(getattr(error, "reason", None) or getattr(error.__cause__, "reason", None) or repr(error))
