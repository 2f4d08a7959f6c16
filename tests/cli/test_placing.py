"""Errors of a server name an option as the source of its value writes it."""

import subprocess

import pytest

from ..starter import PROGRAM

MISSING = "missing.pem cannot be read: no such file or directory"
FOREIGN = "old was written for blocking sockets and cannot have a part of its stream left out: leave the option out"
APP = """\
import penstock

app = penstock.App()

@app.on_message(codec="lines", bind="unix:one")
def one(message):
    return message

@app.on_message(codec="lines", bind="unix:two")
def two(message):
    return message

def old(socket, address):
    pass
"""
TLS = {"PENSTOCK_BIND": "tls://127.0.0.1:0"}
ROWS = {
    "the command line": (["app:shout", "--tls-cert", "missing.pem"], TLS, "", f"--tls-cert: {MISSING}"),
    "the environment": (["app:shout"], TLS | {"PENSTOCK_TLS_CERT": "missing.pem"}, "", f"PENSTOCK_TLS_CERT: {MISSING}"),
    "the file": (["app:shout"], TLS, 'tls_cert = "missing.pem"\n', f"penstock.toml:1: tls_cert: {MISSING}"),
    "the command line, of one service": (
        ["three:app", "--bind", "two=tls://127.0.0.1:0", "--tls-cert", "two=missing.pem"],
        {},
        "",
        f"--tls-cert two=: {MISSING}",
    ),
    "the environment, of one service": (
        ["three:app", "--bind", "two=tls://127.0.0.1:0"],
        {"PENSTOCK_SERVICE_TWO_TLS_CERT": "missing.pem"},
        "",
        f"PENSTOCK_SERVICE_TWO_TLS_CERT: {MISSING}",
    ),
    "the file, of one service": (
        ["three:app"],
        {},
        '[service.two]\nbind = "tls://127.0.0.1:0"\ntls_cert = "missing.pem"\n',
        f"penstock.toml:3: tls_cert: {MISSING}",
    ),
    "what a kind cannot have": (["three:old", "--slow-consumer", "drop_oldest"], {}, "", f"--slow-consumer: {FOREIGN}"),
    "what a kind cannot have, in the file": (
        ["three:old"],
        {},
        'slow_consumer = "drop_oldest"\n',
        f"penstock.toml:1: slow_consumer: {FOREIGN}",
    ),
    "the codec of one that cuts the bytes itself": (
        ["three:old", "--codec", "lines"],
        {},
        "",
        "--codec: old was written for blocking sockets and cuts the bytes itself: leave the option out",
    ),
    "the directory": (["app:shout", "--chdir", "gone"], {}, "", "--chdir: gone: no such file or directory"),
    "the user": (["app:shout"], {"PENSTOCK_USER": "no-one-"}, "", "PENSTOCK_USER: there is no user 'no-one-'"),
    "no option": (
        ["penstock.toml"],
        {},
        "",
        "penstock.toml is a configuration file, not a service: write SERVICE --config penstock.toml",
    ),
}


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize("row", ROWS)
def test_an_error_names_the_option_as_its_source_writes_it(penstock, directory, command, row):
    """A flag, a variable, or the line of a file: what the user looks for to mend it."""
    arguments, variables, file, said = ROWS[row]
    (directory / "three.py").write_text(APP)
    (directory / "penstock.toml").write_text(file)

    assert f"penstock: error: {said}\n" == penstock(command, *arguments, env=variables).stderr


@pytest.mark.parametrize("more", [["--workers", "1", "--no-spare-worker"], ["--model", "process"]])
def test_other_processes_name_the_option_as_well(directory, environ, more):
    """A worker reads the same sources as its supervisor."""
    command = [*PROGRAM, "serve", "app:shout", "--bind", "tls://127.0.0.1:0", "--tls-cert", "missing.pem", *more]
    # Not forked off another process: a supervisor starts its own command line again.
    ran = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=40, check=False)

    assert f"penstock: error: --tls-cert: {MISSING}\n" == ran.stderr
