"""The certificate that a client has shown and that was refused: found in the message, whatever that is."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.engines.tls.shown import first_certificate


def vector(data):
    return len(data).to_bytes(3, "big") + data


def test_the_first_certificate_is_found_in_both_versions():
    """RFC 5246 section 7.4.2, RFC 8446 section 4.4.2."""
    older = vector(vector(b"leaf") + vector(b"above"))
    newer = b"\x02xy" + vector(vector(b"leaf") + b"\0\0" + vector(b"above") + b"\0\0")

    assert (b"leaf", b"leaf") == (first_certificate(older), first_certificate(newer))


def test_none_is_none():
    """An empty list, as of a client that has no certificate."""
    assert (b"", b"") == (
        first_certificate(vector(b"")),
        first_certificate(b"\0" + vector(b"")),
    )


@given(st.binary(max_size=40))
def test_any_bytes_give_some(body):
    """No message makes it fail, and it gives no more than there was."""
    assert first_certificate(body) in body
