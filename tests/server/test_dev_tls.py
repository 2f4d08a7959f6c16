"""Certificates for development: an authority that stays, a certificate that goes with the server."""

import stat
from pathlib import Path

import pytest

import penstock
from penstock import ClientTls, connect_sync
from penstock.address import parse_address
from penstock.core.x509 import certificates_of_pem
from penstock.errors import ConfigurationError, TlsMaterialError
from penstock.server.dev_tls import DevAuthority, ThrowAway
from penstock.testing.thread import ServerThread

pytest.importorskip("trustme")

tell = penstock.on_message(codec="lines")(bytes.upper)


def test_an_authority_stays_and_what_it_signs_is_new(tmp_path):
    """A second run trusts the first one's; keys are readable by their owner alone."""
    first = DevAuthority(tmp_path / "certs")
    one = first.issue("server", ["localhost", "127.0.0.1"]).read_bytes()
    second = DevAuthority(tmp_path / "certs")
    path = second.issue("server", ["example.test"])
    leaf = certificates_of_pem(path.read_bytes())[0]
    rights = {each.name: stat.S_IMODE(each.stat().st_mode) & 0o077 for each in path.parent.iterdir()}

    assert (True, False) == (first.is_new, second.is_new)
    assert one != path.read_bytes()
    assert ("example.test",) == leaf.names
    assert {"ca-key.pem": 0, "server.pem": 0} == {name: right for name, right in rights.items() if name != "ca.pem"}


def test_what_cannot_be_is_said_in_a_sentence(tmp_path):
    """A file in the way, an authority that is none, a name that is none."""
    (tmp_path / "file").write_text("")
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("ca.pem", "ca-key.pem"):
        (broken / name).write_text("nothing")
    with pytest.raises(TlsMaterialError, match="file"):
        DevAuthority(tmp_path / "file" / "certs")
    with pytest.raises(TlsMaterialError, match="are no authority"):
        DevAuthority(broken)
    with pytest.raises(ConfigurationError):
        DevAuthority(tmp_path / "good").issue("server", ["not a name/at all"])


def test_a_throw_away_certificate_is_for_where_the_server_listens():
    """And for this machine; its files go with it."""
    throw_away = ThrowAway([parse_address("tls://192.0.2.7:1"), parse_address("tls://*:2")])
    leaf = certificates_of_pem(Path(throw_away.cert).read_bytes())[0]
    throw_away.close()

    assert {"localhost", "127.0.0.1", "::1", "192.0.2.7"} == set(leaf.names)
    assert not Path(throw_away.ca).exists()


def test_a_server_shows_one_and_the_log_says_whom_to_believe(caplog):
    """``tls_dev``: nothing else has to be given, not even an address."""
    with ServerThread(tell, bind="tls://127.0.0.1:0", tls_dev=True) as server:
        said = next(entry.getMessage() for entry in caplog.records if "temporary" in entry.getMessage())
        with connect_sync(server.address, tls=ClientTls(ca=said.rpartition(" ")[2])) as conn:
            answer = conn.request(b"hello", 20)

    assert b"HELLO" == answer
    assert not Path(said.rpartition(" ")[2]).exists()


def test_it_is_none_beside_another(tmp_path):
    """One of the two is meant."""
    with pytest.raises(ConfigurationError, match="leave tls_cert out"):
        penstock.TlsConfig(dev=True, cert=("cert.pem",))
