"""``penstock probe``: whether servers accept, in a table, as JSON and as an exit status."""

import contextlib
import json
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli.probe import at_once
from penstock.testing.certificates import authority


@pytest.fixture
def free():
    """The address of a port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def full():
    """The address of a server whose backlog is full, so that connecting to it waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with contextlib.suppress(TimeoutError):
            while True:
                stack.enter_context(socket.create_connection(listener.getsockname(), timeout=0.2))
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "unix:s", "unix+dgram:s", "unix+seqpacket:s"])
def test_a_server_that_accepts_is_status_0(serve, penstock, bind):
    """Its line says OK, and how long it took."""
    served = serve("app:echo", bind=bind)
    done = penstock("probe", served.address)
    head, line = done.stdout.splitlines()

    assert (0, "") == (done.returncode, done.stderr)
    assert ["ADDRESS", "RESULT", "RESOLVE", "CONNECT"] == head.split()
    assert [served.address, "OK"] == line.split()[:2]
    assert ["ms", "ms"] == line.split()[3::2]


def test_one_that_refuses_is_status_1_whatever_the_others_do(serve, penstock, free):
    """All of them are in the table, in the order they were given."""
    served = serve("app:echo")
    done = penstock("probe", free, served.address, "tcp://nobody.invalid:1")
    _, *lines = done.stdout.splitlines()

    assert (1, "") == (done.returncode, done.stderr)
    assert [free, served.address, "tcp://nobody.invalid:1"] == [line.split()[0] for line in lines]
    assert ["ECONNREFUSED", "OK"] == [line.split()[1] for line in lines[:2]]
    assert lines[0].endswith("connection refused")
    assert lines[2].split()[1].startswith("EAI_")


def test_one_that_does_not_answer_is_status_3(penstock, full):
    """When that is all that went wrong."""
    done = penstock("probe", "--timeout", "200ms", full)

    assert 3 == done.returncode
    assert "ETIMEDOUT" == done.stdout.splitlines()[1].split()[1]


def test_json_has_a_field_for_each_fact(serve, penstock, free):
    """Numbers are seconds, and what is not known is null."""
    served = serve("app:echo")
    done = penstock("probe", "--json", served.address, free)
    good, bad = json.loads(done.stdout)

    assert {
        "address": served.address,
        "accepts": True,
        "errno": 0,
        "errno_name": "OK",
        "phase": None,
        "error": None,
    } == {name: good[name] for name in ("address", "accepts", "errno", "errno_name", "phase", "error")}
    assert (False, "ECONNREFUSED", "connect", None) == (
        bad["accepts"],
        bad["errno_name"],
        bad["phase"],
        bad["peer"],
    )
    assert all(each[name] >= 0 for each in (good, bad) for name in ("resolve_s", "connect_s"))


def test_it_waits_until_the_server_is_there(serve, environ, directory):
    """The server starts after the probe has begun."""
    path = directory / "late.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "probe", "--wait", "20s", f"unix:{path}"],
        cwd=directory,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    serve("app:echo", bind=f"unix:{path}")
    output, _ = process.communicate(timeout=30)

    assert 0 == process.returncode
    assert "OK" == output.splitlines()[1].split()[1]


def test_waiting_ends(penstock, free):
    """With what came of the last attempt."""
    assert 1 == penstock("probe", "--wait", "300ms", free).returncode


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_many_are_tried_with_few_descriptors(serve, penstock, host):
    """What this process may have open says nothing about the servers."""
    served = serve("app:echo")
    port = served.address.rpartition(":")[2]
    done = penstock(
        "probe",
        "--timeout",
        "20s",
        *[f"tcp://{host}:{port}"] * 100,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )

    assert (0, {"OK"}) == (done.returncode, {line.split()[1] for line in done.stdout.splitlines()[1:]})


@pytest.mark.parametrize(("limit", "attempts"), [(None, 128), (1024, 128), (256, 58), (64, 10), (16, 1)])
def test_the_descriptors_say_how_many_are_tried_at_once(limit, attempts):
    """One at least."""

    assert attempts == at_once(limit)


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_waiting_can_be_interrupted(environ, directory, free):
    """CTRL+C is status 130, and no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "penstock", "probe", "--wait", "1h", free],
        cwd=directory,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "penstock.cli.main\n" not in process.stderr.readline():
        assert process.poll() is None
    while not catches(process.pid, signal.SIGINT):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, told = process.communicate(timeout=30)

    assert (130, "") == (process.returncode, output)
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "url",
    ["udp://127.0.0.1:9", "raw+icmp://127.0.0.1", "fd://3", "tcp://127.0.0.1:0", "nonsense"],
)
def test_what_cannot_be_probed_is_a_mistake(penstock, url):
    """UDP takes whatever is sent to it: OK would say nothing."""
    done = penstock("probe", url)

    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("penstock: error: ")
    assert 1 == len(done.stderr.splitlines())


def test_over_tls_the_whole_chain_is_shown(serve, penstock, tmp_path):
    """The server's certificate and those it has sent with it, by whom each is signed, and the handshake's time."""
    pytest.importorskip("trustme")
    between = authority().trustme.create_child_ca()
    certificate = str(tmp_path / "server.pem")
    between.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    served = serve("app:echo", "--tls-cert", certificate, bind="tls://127.0.0.1:0")
    shown = penstock("probe", served.address, "--ca", authority().ca)
    told = penstock("probe", served.address, "--ca", authority().ca, "--json")
    doubted = penstock("probe", served.address)

    head, line, _, agreed, *about = shown.stdout.splitlines()
    (found,) = json.loads(told.stdout)
    leaf, above = found["tls"]["chain"]
    assert (0, 0, 4) == (shown.returncode, told.returncode, doubted.returncode)
    assert "HANDSHAKE" == head.split()[-1]
    assert ["ms", "ms", "ms"] == line.split()[3::2]
    assert f"{served.address}: TLSv1.3, TLS_AES_256_GCM_SHA384 (256 bits)" == agreed
    assert ["certificate", "for", "signed by", "valid until", "pin", "sent with it"] == [
        each[2:14].strip() for each in about
    ]
    assert leaf["issuer"] == above["subject"] != leaf["subject"]
    assert f"sent with it {above['subject']}, signed by {above['issuer']}," in about[-1]
    assert ["localhost", "127.0.0.1"] == leaf["names"]
    assert "self-signed certificate" in doubted.stdout or "unable to get" in doubted.stdout
