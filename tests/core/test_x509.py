"""What a certificate says: names, times, key; and bytes that are none."""

import contextlib
import functools
import ssl
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.x509 import NotACertificateError, certificate_of, certificates_of_pem
from penstock.testing.certificates import authority

pytest.importorskip("trustme")


@functools.cache
def issued(*names, **options):
    """Return a certificate of the tests' authority, read by ours, and its PEM."""
    path = authority().issue("x509", *names, **options)
    with open(path, "rb") as file:
        pem = file.read()
    return certificates_of_pem(pem)[0], pem


def test_names_times_and_key_are_read():
    """Each kind of name, the common name, and the times, as `ssl` has them."""
    found, pem = issued("a.example", "*.b.example", "192.0.2.1", "2001:db8::1", "me@example.org", common="a, b\\c")
    block = pem[pem.index(b"-----BEGIN CERT") :].decode()

    assert ("a.example", "*.b.example") == found.dns_names
    assert ("192.0.2.1", "2001:db8::1") == found.ip_addresses
    assert ("me@example.org",) == found.email_addresses
    assert "a, b\\c" == found.common_name
    assert ssl.PEM_cert_to_DER_cert(block[: block.index("-----END") + 25].rstrip() + "\n") == found.der
    assert 364 <= found.days_left(datetime.now(UTC).timestamp()) <= 366
    assert found.pin.startswith("sha256/")
    assert len(found.pin) == 51


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.example", True), ("A.Example.", True), ("x.b.example", True), ("x.y.b.example", False), ("b.example", False)],
)
def test_a_wildcard_stands_for_one_label(name, expected):
    """RFC 6125 section 6.4.3."""
    found, _ = issued("a.example", "*.b.example")

    assert expected == found.is_for(name)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_certificate_or_refused(data):
    """One error of its own, whatever a peer sends."""
    with pytest.raises(NotACertificateError):
        certificate_of(data)


@given(st.data())
def test_a_certificate_that_was_changed_is_read_or_refused(data):
    """A byte changed or cut off anywhere."""
    found, _ = issued("a.example")
    at = data.draw(st.integers(0, len(found.der) - 1))
    changed = bytearray(found.der)
    changed[at] ^= data.draw(st.integers(1, 255))
    for variant in (bytes(changed), found.der[:at]):
        with contextlib.suppress(NotACertificateError):
            repr(certificate_of(variant))
