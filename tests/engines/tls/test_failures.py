"""What errors of `ssl` mean, by the alert that the peer sent."""

import ssl

import pytest

from penstock.engines.tls.failures import failure_of


@pytest.mark.parametrize(
    ("name", "shaking", "reason"),
    [
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", True, "tls_handshake"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", False, "tls_handshake"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", False, "tls_certificate"),
        ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", False, "tls_error"),
    ],
)
def test_a_client_that_is_done_first_may_still_be_refused(name, shaking, reason):
    """TLS 1.3: what a server makes of the client's certificate comes after the client's own handshake."""
    error = ssl.SSLError(1, "")
    error.reason = name

    assert reason == str(failure_of(error, shaking=shaking).reason)
