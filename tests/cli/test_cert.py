"""``penstock cert dev``: files that a server and a client can be started with at once."""

import pytest

pytest.importorskip("trustme")


def test_what_it_writes_works(penstock, serve, tmp_path):
    """The line that it prints, a client's certificate, and the authority that stays."""
    first = penstock("cert", "dev")
    second = penstock("cert", "dev", "--client", "alice")
    options = ("--tls-cert", "certs/server.pem", "--tls-client-ca", "certs/ca.pem")
    served = serve("app:echo", *options, bind="tls://127.0.0.1:0")
    sent = penstock("send", served.address, "hello", "--ca", "certs/ca.pem", "--cert", "certs/client-alice.pem")

    assert (0, 0) == (first.returncode, second.returncode), second.stderr
    assert ["certs/ca.pem  new: what clients trust (--ca)"] == first.stdout.splitlines()[:1]
    assert ["certs/ca.pem  as it was: what clients trust (--ca)"] == second.stdout.splitlines()[:1]
    assert "hello" == sent.stdout, sent.stderr


def test_a_name_that_is_none_is_status_2(penstock):
    """In one line."""
    done = penstock("cert", "dev", "no name/")

    assert (2, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
