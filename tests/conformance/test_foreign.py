"""What speaks another protocol, and breaks the framing with its first bytes, gets a reason that says which."""

import pytest

from penstock.testing.peers import read_to_end

HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CODECS = {
    "compiled": "length-prefixed:max=64KiB",
    "python": "netstring",
}


@pytest.mark.uncipherable("it is about what is no TLS")
@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message", "async-connection", "def-connection"))
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize(("first", "reason"), [(HELLO, "looks_like_tls"), (REQUEST, "looks_like_http")])
def test_another_protocol_has_a_reason_of_its_own(serve, form, codec, first, reason):
    """Row 64: with the first bytes; what breaks the framing later broke it, whatever it looks like."""
    good = b"\x00\x00\x00\x02ok" if codec != CODECS["python"] else b"2:ok,"
    with serve(lambda _conn, message: message, codec=codec) as server:
        for number, wire in enumerate((first, good + first)):
            with server.dial() as peer:
                peer.sendall(wire)
                read_to_end(peer)
            reasons = list(server.reasons(number + 1))  # one after the other, on threads too

    assert reason == reasons[0]
    assert reasons[1] in ("frame_too_large", "bad_length", "bad_frame")
