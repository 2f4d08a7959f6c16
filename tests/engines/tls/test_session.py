"""What passes a TLS layer over a link that fails: nothing that was refused, and nothing behind a missing record."""

import contextlib
import ssl

import pytest

from penstock.engines.tls.layer import TlsLayer
from penstock.engines.tls.session import MemorySession
from penstock.testing.certificates import authority, server_certificate

pytest.importorskip("trustme")


class FailingLink:
    """A link that keeps what is sent, or raises where it is told to."""

    queued_bytes = 0

    def __init__(self):
        self.sent = bytearray()
        self.fails = False
        self.ended = False
        self.cut = False

    def send(self, data):
        if self.fails:
            raise RecursionError
        self.sent += data
        return 0

    def take_turns(self, *, wanted):
        pass

    def resume_reading(self):
        pass

    def send_eof(self):
        self.ended = True

    def close(self):
        self.ended = True

    def abort(self):
        if self.fails:
            raise RecursionError
        self.cut = True


class Silent:
    """The user of a layer, which says nothing."""

    def __getattr__(self, name):
        return lambda *_: None

    tls_session = None


class Talk:
    """A server's layer over a failing link, and a client that has shaken hands with it."""

    def __init__(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_certificate())
        self.link = FailingLink()
        self.layer = TlsLayer(
            Silent(), lambda incoming, outgoing: context.wrap_bio(incoming, outgoing, server_side=True)
        )
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = authority().client().wrap_bio(self._incoming, self.outgoing, server_hostname="localhost")
        self.layer.connection_made(self.link)
        for _ in range(2):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.layer.data_received(self.outgoing.read())
            self.hears()

    def hears(self):
        self._incoming.write(bytes(self.link.sent))
        self.link.sent.clear()

    def received(self):
        """Return what the client can decipher, and whether close_notify came after it."""
        self.hears()
        data = b""
        try:
            while part := self.client.read(65536):
                data += part
        except ssl.SSLWantReadError:
            return data, False
        except ssl.SSLZeroReturnError:
            pass
        return data, True


@pytest.mark.parametrize("next_call", ["send", "data_received", "output_sank", "send_now", "close"])
def test_what_could_not_be_sent_is_the_last_and_ends_the_connection(next_call):
    """Its sender was told so. Where there is no stack for the end, whatever is called next makes it."""
    talk = Talk()
    talk.layer.send(b"one ")
    talk.link.fails = True
    with pytest.raises(RecursionError):
        talk.layer.send(b"two ")
    talk.link.fails = False
    arguments = {"send": [b"three "], "data_received": [b"x"]}.get(next_call, [])
    getattr(talk.layer, next_call)(*arguments)

    assert (True, (b"one ", False)) == (talk.link.cut, talk.received())


def test_what_was_refused_before_a_record_was_made_of_it_changes_nothing(monkeypatch):
    """The connection goes on without it."""

    def refuse(*_):
        raise MemoryError

    talk = Talk()
    with monkeypatch.context() as patch:
        patch.setattr(MemorySession, "encipher", refuse)
        with pytest.raises(MemoryError):
            talk.layer.send(b"one ")
    talk.layer.send(b"two ")

    assert (False, (b"two ", False)) == (talk.link.cut, talk.received())


@pytest.mark.parametrize("end", [TlsLayer.send_eof, TlsLayer.close])
def test_an_end_is_carried_out_though_close_notify_cannot_be_sent(end):
    """Else the peer would wait for it for ever."""
    talk = Talk()
    talk.link.fails = True
    with pytest.raises(RecursionError):
        end(talk.layer)

    assert talk.link.ended


@pytest.mark.parametrize("end", [TlsLayer.send_eof, TlsLayer.close])
def test_a_close_notify_that_was_late_is_not_sent_after_the_end_of_the_link(end, monkeypatch):
    """The link never had it. One that has ended raises at what is sent, and that would end the connection."""

    def fall(*_):
        raise RecursionError

    talk = Talk()
    with monkeypatch.context() as patch:
        patch.setattr(MemorySession, "take", fall)
        with pytest.raises(RecursionError):
            end(talk.layer)
    talk.link.fails = True  # as it does after its end
    talk.client.write(b"more")
    talk.layer.data_received(talk.outgoing.read())

    assert (True, b"") == (talk.link.ended, bytes(talk.link.sent))


def test_a_ticket_that_comes_in_parts_is_kept():
    """Until the first bytes of the user's come, in front of which it is, each read may bring the rest of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_certificate())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    link, kept = FailingLink(), []

    def keeps(agreed):
        if agreed.session is None or not agreed.session.has_ticket:
            return False
        kept.append(agreed.session)
        return True

    def wrap(*buffers):
        return authority().client().wrap_bio(*buffers, server_hostname="localhost")

    layer = TlsLayer(Silent(), wrap, keeps=keeps)
    layer.connection_made(link)
    for _ in range(2):
        incoming.write(bytes(link.sent))
        link.sent.clear()
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        sent = outgoing.read()
        for at in range(len(sent)):
            layer.data_received(sent[at : at + 1])

    assert 1 == len(kept)
