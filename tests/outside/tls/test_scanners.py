"""Programs that look for what is weak in TLS: they find nothing of weight, but that the authority is a test's."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

import penstock
from penstock.testing.certificates import server_certificate
from penstock.testing.served import served

pytest.importorskip("trustme")
pytestmark = pytest.mark.outside

# What testssl.sh says of a certificate that no public authority has signed.
OF_THE_AUTHORITY = {"cert_chain_of_trust", "cert_revocation"}
WEIGHTY = {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}
SCAN_S = 300


@pytest.fixture
def server(engine):
    """A server as it is by default, for as long as a scan takes."""

    @penstock.on_message(codec="lines")
    def upper(message):
        return message.upper()

    with served(
        upper, engine=engine.name, loop_factory=engine.loop_factory, bind="tls://127.0.0.1:0",
        tls_cert=server_certificate(), fails=None,
    ) as running:  # fmt: skip
        yield running


def need(program):
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@pytest.mark.timeout(2 * SCAN_S)
def test_sslscan_finds_nothing_weak(server):
    """TLS 1.2 and 1.3, ciphers that it calls strong or acceptable, no compression, no renegotiation."""
    command = [need("sslscan"), "--xml=-", f"127.0.0.1:{server.port}"]
    done = subprocess.run(command, capture_output=True, timeout=SCAN_S, check=True)
    found = ET.fromstring(done.stdout)
    spoken = {each.get("version") for each in found.iter("protocol") if each.get("enabled") == "1"}
    ciphers = {each.get("cipher"): each for each in found.iter("cipher")}

    assert {"1.2", "1.3"} == spoken
    # Which of them there are is for the machine's OpenSSL to say.
    assert {"strong", "acceptable"} >= {each.get("strength") for each in ciphers.values()}
    assert {"ECDHE", "TLS_A", "TLS_C"} >= {name[:5] for name in ciphers} >= {"ECDHE", "TLS_A"}
    assert {"0"} == {each.get("vulnerable") for each in found.iter("heartbleed")}
    assert {"0"} == {each.get("supported") for name in ("renegotiation", "compression") for each in found.iter(name)}
    assert {"false"} == {each.text for each in found.iter("expired")}


@pytest.mark.full
@pytest.mark.timeout(2 * SCAN_S)
def test_testssl_names_nothing_of_medium_severity_or_above(server, tmp_path):
    """Protocols, ciphers, what is preferred, the certificate, and every fault that it knows of implementations."""
    report = tmp_path / "report.json"
    command = [need("testssl"), "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none"]
    tests = ["-p", "-s", "-f", "-P", "-S", "-U"]
    subprocess.run(
        [*command, *tests, "--jsonfile", str(report), f"127.0.0.1:{server.port}"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=SCAN_S,
    )  # fmt: skip
    findings = {each["id"]: each for each in json.loads(report.read_text())}

    assert OF_THE_AUTHORITY == {name for name, each in findings.items() if each["severity"] in WEIGHTY}
    assert {"TLS1_2", "TLS1_3", "heartbleed", "secure_client_renego", "ROBOT", "LUCKY13", "FREAK"} <= findings.keys()
