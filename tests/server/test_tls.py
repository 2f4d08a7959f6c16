"""What a server makes of its certificates: loaded, judged, refused in one line."""

import errno
import os
import ssl
import time
from pathlib import Path

import pytest

import penstock
from penstock.address import parse_address
from penstock.config import TlsConfig
from penstock.engines.listener import Listener
from penstock.errors import ExitStatus, TlsMaterialError
from penstock.server.tls import Material, layered, tls_of
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.peers import dial
from penstock.testing.thread import ServerThread

pytest.importorskip("trustme")


@pytest.fixture
def pem(tmp_path):
    """Write a file of some blocks of PEM; return its path."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    return write


def key_of(path):
    text = Path(path).read_text()
    return text[: text.index("-----BEGIN CERT")]


def chain_of(path):
    text = Path(path).read_text()
    return text[text.index("-----BEGIN CERT") :]


def test_what_is_wrong_with_a_file_is_said_in_one_line(pem, tmp_path):
    """Which file, and which of the things that can be wrong; exit status 5."""
    good = server_certificate()
    other = authority().issue("another", "another.example")
    chain, key = pem("chain", chain_of(good)), pem("key", key_of(good))
    encrypted = pem("encrypted", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    garbled = pem("garbled", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    found = {}
    for name, options in {
        "missing": {"cert": (f"{tmp_path}/none",)},
        "no key": {"cert": (chain,)},
        "no certificate": {"cert": (key,)},
        "another key": {"cert": (chain,), "key": (other,)},
        "encrypted": {"cert": (chain,), "key": (encrypted,)},
        "garbled": {"cert": (garbled,)},
        "ciphers": {"cert": (good,), "ciphers": "NONE-SUCH"},
        "authority": {"cert": (good,), "client_ca": key},
        "no list": {"cert": (good,), "client_ca": authority().ca, "crl": good},
    }.items():
        with pytest.raises(penstock.TlsMaterialError) as caught:
            Material(TlsConfig(**options))
        found[name] = str(caught.value).replace(f"{tmp_path}/", "").replace(good, "GOOD").replace(other, "OTHER")
        assert ExitStatus.TLS == caught.value.exit_status

    assert {
        "missing": "tls_cert: none cannot be read: no such file or directory",
        "no key": "tls_cert: chain holds no private key in PEM: give its file as tls_key",
        "no certificate": "tls_cert: key holds no certificate in PEM",
        "another key": "tls_key: the key in OTHER is not that of the certificate in chain",
        "encrypted": "tls_key: the private key in encrypted is encrypted, and a server has nobody to ask for its "
        "password: decrypt it (openssl pkey), and let only the server read the file",
        "garbled": "tls_cert: garbled: it is no X.509 certificate: tag 0x0 stands where 0x30 belongs",
        "ciphers": "tls_ciphers: 'NONE-SUCH': this OpenSSL knows none of these ciphers",
        "authority": "tls_client_ca: key holds no certificate in PEM",
        "no list": "tls_crl: GOOD holds no list of revoked certificates (X509 CRL) in PEM",
    } == found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"days": -0.5}, "expired on"),
        ({"since_days": -2}, "is valid from"),
        ({"days": 3.5}, "expires in 3 days"),
        ({"days": 20}, None),
    ],
)
def test_a_certificate_out_of_its_time_is_warned_of(options, words):
    """Expired, not valid yet, or so soon no more: with its name and the date."""
    path = authority().issue("timed", "timed.example", **options)
    os.chmod(path, 0o600)
    warnings = Material(TlsConfig(cert=(path,))).warnings(time.time())

    assert (0 if words is None else 1) == len(warnings)
    assert all(words in text and "timed.example" in text for text in warnings)


def test_a_key_that_all_may_read_is_warned_of():
    """Who can read it can be this server."""
    path = authority().issue("open", "open.example")
    os.chmod(path, 0o644)

    assert [f"{path}: every user of this machine can read the private key; chmod 600 it"] == Material(
        TlsConfig(cert=(path,))
    ).warnings(time.time())


def test_tls_and_its_addresses_have_to_agree():
    """A certificate that is never shown, and an address that has none to show."""
    config = TlsConfig(cert=(server_certificate(),))
    with pytest.raises(penstock.ConfigurationError, match="no address speaks TLS"):
        tls_of(config, [parse_address("tcp://127.0.0.1:9000")])
    with pytest.raises(penstock.ConfigurationError, match="there is a tls_client_ca, and no address speaks TLS"):
        tls_of(TlsConfig(client_ca=server_certificate()), [parse_address("tcp://127.0.0.1:9000")])
    with pytest.raises(penstock.TlsMaterialError, match="TLS needs a certificate"):
        tls_of(TlsConfig(), [parse_address("unix:x?tls=on")])
    assert tls_of(config, [parse_address("tcp://127.0.0.1:1"), parse_address("tls://127.0.0.1:2")]) is not None
    assert tls_of(TlsConfig(), [parse_address("tcp://127.0.0.1:9000")]) is None
    assert tls_of(config, [parse_address("tcp://127.0.0.1:9000")], alone=False) is None  # another service's, in an App


@pytest.mark.parametrize("options", [{}, {"host": "127.0.0.1", "port": 0}], ids=["default", "host and port"])
async def test_a_certificate_is_enough_where_no_scheme_was_chosen(options, monkeypatch):
    """One option turns it on."""
    monkeypatch.setattr("penstock.config.keywords.DEFAULT_PORT", 0)
    service = penstock.on_message(codec="lines")(bytes.upper)
    server = penstock.serve(service, tls_cert=server_certificate(), **options)

    server.open()
    try:
        assert ["tls"] == [parse_address(text).scheme.value for text in server.addresses]
    finally:
        server.close()


def names_shown(server):
    """Connect once; return whom the certificate is for that the server shows."""
    with CipheredSocket(dial(server.address), authority().client(), name="localhost") as peer:
        return peer.certificate.dns_names


def test_certificates_are_exchanged_while_they_are_in_use(tmp_path):
    """T-50: whole or not at all; open connections stay, and a broken file leaves the old one."""
    path = tmp_path / "shown.pem"
    old = Path(authority().issue("old", "localhost", "old.example")).read_text()
    new = Path(authority().issue("new", "localhost", "new.example")).read_text()
    path.write_text(old)
    path.chmod(0o600)
    service = penstock.on_message(codec="lines")(bytes.upper)
    with ServerThread(service, bind="tls://127.0.0.1:0", tls_cert=str(path)) as server:
        with CipheredSocket(dial(server.address)) as peer:
            path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            with pytest.raises(penstock.TlsMaterialError):
                server.wait(server.server.reload(server.server.config))
            kept = names_shown(server)
            path.write_text(new)
            server.wait(server.server.reload(server.server.config))
            shown = names_shown(server)
            peer.sendall(b"still here\n")
            answer = peer.recv(100)

    assert (("localhost", "old.example"), ("localhost", "new.example")) == (kept, shown)
    assert b"STILL HERE\n" == answer


@pytest.mark.parametrize(
    "requested",
    ["tls://127.0.0.1:1", "tcp+tls://127.0.0.1:1", "tcp://127.0.0.1:1?tls=start", "unix:/x?tls=on", "fd://3?tls=on"],
)
def test_a_listener_of_tls_without_a_certificate_is_refused(requested):
    """Whatever has become of it: the address says TLS, so nothing is served there in clear."""
    listener = Listener(None, parse_address(requested), parse_address("tcp://127.0.0.1:1"))

    with pytest.raises(TlsMaterialError, match="no certificate"):
        layered(listener, None)


@pytest.mark.parametrize("loads", ["load_cert_chain", "load_verify_locations"])
def test_a_file_that_openssl_cannot_open_is_said_in_one_line(monkeypatch, loads):
    """It opens what was read a moment before; by then it may be gone, or there is no descriptor left."""

    def fail(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(ssl.SSLContext, loads, fail)

    with pytest.raises(TlsMaterialError, match="cannot be read: too many open files"):
        Material(TlsConfig(cert=(server_certificate(),), client_ca=authority().ca))
