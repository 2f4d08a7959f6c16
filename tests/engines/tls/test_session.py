"""What passes a TLS layer over a link that fails: no record is lost, sent twice, or behind its time."""

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engines.tls.layer import TlsLayer
from penstock.testing.certificates import authority, server_certificate

pytest.importorskip("trustme")


class FailingLink:
    """A link that keeps what is sent, or raises where it is told to."""

    queued_bytes = 0

    def __init__(self):
        self.sent = bytearray()
        self.fails = False
        self.ended = False

    def send(self, data):
        if self.fails:
            raise RecursionError
        self.sent += data
        return 0

    def resume_reading(self):
        pass

    def send_eof(self):
        self.ended = True

    def close(self):
        self.ended = True


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
        self._incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = authority().client().wrap_bio(self._incoming, outgoing, server_hostname="localhost")
        self.layer.connection_made(self.link)
        for _ in range(2):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.layer.data_received(outgoing.read())
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


@given(fails=st.lists(st.booleans(), max_size=6))
def test_records_whose_sending_failed_go_before_those_after_them(fails):
    """They are numbered: without one of them the peer could decipher nothing that follows."""
    talk = Talk()
    for number, each in enumerate([*fails, False]):
        talk.link.fails = each
        if each:
            with pytest.raises(RecursionError):
                talk.layer.send(b"%d " % number)
        else:
            talk.layer.send(b"%d " % number)

    assert (b"".join(b"%d " % number for number in range(len(fails) + 1)), False) == talk.received()


@pytest.mark.parametrize("end", [TlsLayer.send_eof, TlsLayer.close])
def test_an_end_is_carried_out_though_close_notify_cannot_be_sent(end):
    """Else the peer would wait for it for ever."""
    talk = Talk()
    talk.link.fails = True
    with pytest.raises(RecursionError):
        end(talk.layer)

    assert talk.link.ended
