"""Factories and protocols of Twisted are served unchanged, with the contract of their transport."""

import io
import poplib
import threading

import pytest

from penstock.adapters import install_reactor, service_of
from penstock.errors import ApplicationError
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_exactly, read_to_end, reset

pytest.importorskip("twisted")
install_reactor()  # before anything of Twisted's imports its own
protocol = pytest.importorskip("twisted.internet.protocol")
basic = pytest.importorskip("twisted.protocols.basic")
error = pytest.importorskip("twisted.internet.error")
pop3 = pytest.importorskip("twisted.mail.pop3")
cred = pytest.importorskip("twisted.cred.error")
defer = pytest.importorskip("twisted.internet.defer")

pytestmark = pytest.mark.engines(*LOOPS)


class Shout(basic.LineReceiver):
    """As the tutorials have it; ``bye`` ends it."""

    delimiter = b"\n"

    def lineReceived(self, line):
        if line == b"bye":
            self.transport.loseConnection()
        self.sendLine(line.upper())

    def connectionLost(self, reason):
        notes = getattr(self.factory, "notes", None)
        if notes is not None:
            notes.append(reason.type)


def noted(kind, notes, **attributes):
    """A factory of this protocol that has these attributes."""
    factory = protocol.Factory.forProtocol(kind)
    factory.notes = notes
    vars(factory).update(attributes)
    return factory


@pytest.mark.ciphered
def test_a_line_receiver_answers_and_closes(serve, engine):
    """What it writes after `loseConnection`, before it returns, arrives: as in Twisted."""
    notes = []
    with serve(noted(Shout, notes)) as server, server.dial() as peer:
        peer.sendall(b"one\ntwo\nbye\nnot this\n")
        assert b"ONE\nTWO\nBYE\n" == read_to_end(peer)
        server.wait_closed(1)

    assert [error.ConnectionDone] == notes


def test_the_class_of_a_protocol_is_served_by_itself(serve, engine):
    """Each connection has one of its own."""
    with serve(Shout) as server, server.dial() as peer, server.dial() as other:
        peer.sendall(b"one\n")
        other.sendall(b"two\n")

        assert [b"ONE\n", b"TWO\n"] == [read_exactly(peer, 4), read_exactly(other, 4)]


def test_a_factory_begins_and_ends_with_the_server(serve, engine):
    """Once, before the first connection; one for which it makes no protocol is closed."""
    course = []

    class Some(protocol.Factory):
        def startFactory(self):
            course.append("start")

        def stopFactory(self):
            course.append("stop")

        def buildProtocol(self, addr):
            course.append((addr.type, addr.host))
            return

    with serve(Some) as server:
        assert ["start"] == course
        for _ in range(2):
            with server.dial() as peer:
                assert b"" == read_to_end(peer)

    assert ["start", ("TCP", "127.0.0.1"), ("TCP", "127.0.0.1"), "stop"] == course


def test_a_peer_that_resets_is_a_lost_connection(serve, engine):
    """Not one that is done."""
    notes = []
    with serve(noted(Shout, notes)) as server:
        peer = server.dial()
        peer.sendall(b"one\n")
        read_exactly(peer, 4)
        reset(peer)
        assert ["reset"] == list(server.reasons(1))

    assert [error.ConnectionLost] == notes


class Mailbox(pop3.Mailbox):
    """One mail."""

    def listMessages(self, i=None):
        return [len(MAIL)] if i is None else len(MAIL)

    def getMessage(self, i):
        return io.BytesIO(MAIL)

    def getUidl(self, i):
        return b"one"


MAIL = b"Subject: x\n\n" + b"body of it\n" * 50_000


class Mail(pop3.POP3):
    """Twisted's POP3 server, for one user."""

    def authenticateUserPASS(self, user, password):
        if password != b"secret":
            return defer.fail(cred.UnauthorizedLogin())
        return defer.succeed((pop3.IMailbox, Mailbox(), lambda: None))


def test_the_pop3_server_of_twisted_serves_poplib(serve, engine):
    """A mail larger than what a peer may be owed at once comes by a producer; a wrong password is refused."""
    with serve(Mail) as server:
        client = poplib.POP3("127.0.0.1", server.port, timeout=20)
        client.user("ada")
        with pytest.raises(poplib.error_proto):
            client.pass_("wrong")
        client.user("ada")
        client.pass_("secret")
        assert (1, len(MAIL)) == client.stat()
        assert MAIL.splitlines() == client.retr(1)[1]
        client.quit()


def test_a_producer_that_streams_goes_on_while_the_peer_reads(serve, engine):
    """It is paused and resumed; the connection closes once it has unregistered."""
    course = []

    class Flood(protocol.Protocol):
        left = 100

        def dataReceived(self, data):
            self.transport.registerProducer(self, True)
            self.transport.loseConnection()  # once the producer is done
            self.resumeProducing()

        def pauseProducing(self):
            course.append("pause")
            self.runs = False

        def resumeProducing(self):
            self.runs = True
            while self.runs and self.left:
                self.left -= 1
                self.transport.write(bytes(100_000))
            if not self.left:
                self.transport.unregisterProducer()

        def stopProducing(self):
            course.append("stop")

    with serve(Flood) as server, server.dial(receive_buffer_bytes=4096) as peer:
        peer.sendall(b"x")
        server.wait_until(lambda _: course)
        assert 100 * 100_000 == len(read_to_end(peer))

    assert {"pause"} == set(course)


def test_a_producer_is_stopped_with_its_connection(serve, engine):
    """Also one that is registered when that is over."""
    stopped = []

    class Stops(protocol.Protocol):
        def dataReceived(self, data):
            with pytest.raises(RuntimeError, match="never unregistered"):
                self.transport.registerProducer(self, True) or self.transport.registerProducer(self, True)
            self.transport.abortConnection()

        def connectionLost(self, reason):
            self.transport.registerProducer(self, True)

        def stopProducing(self):
            stopped.append(self.transport.connected)

    with serve(Stops) as server, server.dial() as peer:
        peer.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        server.wait_until(lambda _: len(stopped) == 2)

    assert [False, False] == stopped


def test_a_protocol_pauses_its_peer(serve, engine):
    """Nothing is lost."""
    made = []

    class Pauses(basic.LineReceiver):
        delimiter = b"\n"

        def lineReceived(self, line):
            made.append(self)
            self.sendLine(line)
            self.pauseProducing()

    with serve(Pauses) as server, server.dial() as peer:
        peer.sendall(b"one\n")
        assert b"one\n" == read_exactly(peer, 4)
        peer.sendall(b"two\n")
        server.call(made[0].resumeProducing)
        assert b"two\n" == read_exactly(peer, 4)
        server.call(made[0].resumeProducing)


def test_a_protocol_that_knows_half_a_connection_answers_after_the_peers_eof(serve, engine):
    """Any other one is at its end with it."""
    interfaces = pytest.importorskip("twisted.internet.interfaces")
    implementer = pytest.importorskip("zope.interface").implementer

    @implementer(interfaces.IHalfCloseableProtocol)
    class Half(protocol.Protocol):
        def readConnectionLost(self):
            self.transport.writeSequence([b"la", b"te"])
            self.transport.loseWriteConnection()
            self.transport.loseConnection()

        def writeConnectionLost(self):
            pass

    with serve(Half) as server, server.dial() as peer:
        peer.shutdown(1)

        assert b"late" == read_to_end(peer)


def test_a_protocol_may_ask_about_its_connection(serve, engine):
    """By Twisted's names."""
    facts = []

    class Asks(protocol.Protocol):
        def connectionMade(self):
            transport = self.transport
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
            facts.append((transport.getPeer().port, transport.getHost().port))
            facts.append((transport.getTcpNoDelay(), transport.getTcpKeepAlive()))
            with pytest.raises(TypeError, match="must not be string"):
                transport.write("text")
            transport.loseConnection()

    with serve(Asks) as server, server.dial() as peer:
        port = peer.getsockname()[1]
        assert b"" == read_to_end(peer)

        assert [(port, server.port), (True, True)] == facts


def test_the_reactor_calls_later_and_from_threads(serve, engine):
    """On the server's loop; the threads of its pool end with the server."""
    threads = pytest.importorskip("twisted.internet.threads")

    class Works(basic.LineReceiver):
        delimiter = b"\n"

        def lineReceived(self, line):
            from twisted.internet import reactor

            reactor.callLater(0.001, self.work, threading.current_thread())

        def work(self, thread):
            assert thread is threading.current_thread()
            threads.deferToThread(threading.current_thread).addCallback(self.done, thread)

        def done(self, other, thread):
            self.sendLine(b"%d" % (other is thread))

    with serve(Works) as server, server.dial() as peer:
        peer.sendall(b"x\n")

        assert b"0\n" == read_exactly(peer, 2)


def test_a_producer_that_streams_and_fails_ends_its_connection(serve, engine):
    """When it is told to pause, and when to resume: the protocol is told why, the log has it once."""
    notes = []

    class Fails(protocol.Protocol):
        def dataReceived(self, data):
            self.fails_at = data
            self.transport.registerProducer(self, True)
            self.transport.write(bytes(8_000_000))

        def pauseProducing(self):
            if self.fails_at == b"p":
                raise ValueError("pause")

        def resumeProducing(self):
            raise ValueError("resume")

        def stopProducing(self):
            notes.append("stop")

        def connectionLost(self, reason):
            notes.append(str(reason.value))

    with serve(Fails, fails=2, write_max="16MiB") as server:
        for when, wanted in ((b"p", "pause"), (b"r", "resume")):
            notes.clear()
            with server.dial(receive_buffer_bytes=4096) as peer:
                peer.sendall(when)
                assert 8_000_000 == len(read_to_end(peer))
            server.wait_until(lambda _: len(notes) == 2)
            assert ["stop", wanted] == notes


def test_what_is_written_after_the_end_of_its_direction_is_dropped(serve, engine):
    """As in Twisted, which raises nothing."""

    class Ends(protocol.Protocol):
        def dataReceived(self, data):
            self.transport.write(b"before")
            self.transport.loseWriteConnection()
            self.transport.write(b"after")

    with serve(Ends) as server, server.dial() as peer:
        peer.sendall(b"x")

        assert b"before" == read_to_end(peer)


def test_what_is_written_as_a_producer_unregisters_arrives(serve, engine):
    """`loseConnection` has waited for it, and waits for this callback."""

    class Trailer(protocol.Protocol):
        def dataReceived(self, data):
            self.transport.registerProducer(self, True)
            self.transport.write(b"body ")
            self.transport.loseConnection()
            from twisted.internet import reactor

            reactor.callLater(0, self.finish)

        def finish(self):
            self.transport.unregisterProducer()
            self.transport.write(b"trailer")

        def stopProducing(self):
            """Never called."""

    with serve(Trailer) as server, server.dial() as peer:
        peer.sendall(b"x")

        assert b"body trailer" == read_to_end(peer)


@pytest.mark.ciphered
def test_a_protocol_sees_whether_tls_is_spoken(serve, engine):
    """By the interface of its transport, as twisted.web does."""
    interfaces = pytest.importorskip("twisted.internet.interfaces")

    class Asks(protocol.Protocol):
        def connectionMade(self):
            secure = interfaces.ISSLTransport(self.transport, None)
            self.transport.write(b"clear" if secure is None else repr(secure.getPeerCertificate()).encode())
            self.transport.loseConnection()

    with serve(Asks) as server, server.dial() as peer:
        assert (b"None" if engine.ciphered else b"clear") == read_to_end(peer)


def test_what_fails_in_a_protocol_ends_its_connection_alone(serve, engine):
    """It is told of its own error, and the log has it once."""
    notes = []

    class Fails(Shout):
        def lineReceived(self, line):
            raise ValueError(line)

    with serve(noted(Fails, notes), fails=1) as server, server.dial() as peer:
        peer.sendall(b"bad\n")
        assert b"" == read_to_end(peer)
        assert ["handler_error"] == list(server.reasons(1))

    assert [ValueError] == notes


def test_what_is_not_twisteds_is_refused():
    """A factory that takes arguments is to be made first; datagrams are not served."""

    class Needs(protocol.Factory):
        def __init__(self, argument):
            """Never called."""

    with pytest.raises(ApplicationError, match=r"Needs is called without arguments; name a factory that was made"):
        service_of(Needs)
    expected = "expected a factory of Twisted, or the class of a protocol of streams, got"
    with pytest.raises(ApplicationError, match=f"{expected} a DatagramProtocol"):
        service_of(protocol.DatagramProtocol(), kind="twisted")
    with pytest.raises(ApplicationError, match=f"{expected} the class ProcessProtocol"):
        service_of(protocol.ProcessProtocol)
