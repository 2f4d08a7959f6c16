"""Which protocol a stream begins with, of those that are met where another is spoken."""

from penstock.core.foreign import looks_like_http, looks_like_tls, note_foreign
from penstock.errors import BadFrameError, CodecError
from penstock.reasons import CloseReason

HELLO = bytes.fromhex("1603010200010001fc0303")


def test_tls_and_http_are_told_from_others():
    """A ClientHello, a request; nothing that only begins with the same byte."""
    assert (True, False, False) == tuple(map(looks_like_tls, (HELLO, HELLO[:3], b"\x16\x03\x01\x00\x05\x02")))
    assert (True, True, False, False) == tuple(
        map(looks_like_http, (b"GET / HTTP/1.1", b"HTTP/1.1 200", b"GETTING", b"get /"))
    )


def test_a_codec_that_failed_is_not_the_peers_doing():
    """Its reason stays."""
    failed, broken, other = CodecError("c", "decode", "x"), BadFrameError("x"), BadFrameError("y")
    note_foreign(failed, HELLO)
    note_foreign(broken, HELLO)
    note_foreign(other, b"hello")

    assert [CloseReason.CODEC_ERROR, CloseReason.LOOKS_LIKE_TLS, CloseReason.BAD_FRAME] == [
        failed.reason,
        broken.reason,
        other.reason,
    ]
