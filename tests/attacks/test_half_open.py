"""Peers that are no more, and whose end nobody tells: the kernel finds out, by what the server has told it."""

import json
import subprocess
import sys
import time

import pytest

import penstock
from penstock.config import Limits, TcpConfig, Timeouts
from penstock.testing.peers import dial

LO = "ip link set lo up"
ASKED_FOR = ("--tcp-keepalive", "1s", "--tcp-keepalive-interval", "1s", "--tcp-keepalive-probes", "2")
# Run in the namespace: a peer that is answered once, and from then on says nothing.
PEER = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sock.sendall(b"ping\\n")
print(sock.recv(100).decode().strip(), flush=True)
sys.stdin.read()
"""
MIB = 1024**2


@pytest.mark.full
@pytest.mark.engines("pure", "blocking", "native")
def test_a_peer_whose_cable_is_cut_is_found_out(start, namespace, engine, figure):
    """It is asked after a silence, and let go after two questions without an answer; the next one is served."""
    options = (*ASKED_FOR, "--tcp-user-timeout", "none", "--timeout-idle", "1h", "--access-log", "--log-format=json")
    server = start(*options, under=namespace(LO))
    inside = ["nsenter", "--net", "--target", str(server.pid)]
    command = [*inside, sys.executable, "-c", PEER, str(server.address[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert "ping\n" == peer.stdout.readline()
        cut_at = time.monotonic()
        subprocess.run([*inside, "ip", "link", "set", "lo", "down"], check=True)
        lines = [json.loads(line) for line in server.logged('"event": "closed"') if line.startswith("{")]
        found_after_s = time.monotonic() - cut_at
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        peer.stdin.close()
    again = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout
    (reason,) = [line["reason"] for line in lines if line.get("event") == "closed"]
    figure(f"{engine.label}: a peer whose cable is cut, asked after 1 s, twice: {reason} after {found_after_s:.1f} s")

    assert "network" == reason
    assert "ping\n" == again
    assert 0 == server.end()


@pytest.mark.full
def test_a_window_that_stays_shut_is_no_more_than_the_kernel_waits_for(serve, opened, tools, engine, figure):
    """T-38: without a write timeout the kernel's own patience ends it; who reads is served on."""

    @penstock.on_message(codec="lines:max=1MiB")
    def owe(conn, message):
        if message == b"ping":
            return message
        for _ in range(200):
            conn.post(b"x" * 65_000)
        return None

    options = {"limits": Limits(write_max_bytes=64 * MIB), "timeouts": Timeouts(write_s=None, drain_s=10.0)}
    with serve(owe, tcp=TcpConfig(user_timeout_s=1.0), **options) as server:
        other, shut = dial(server.address), dial(server.address, receive_buffer_bytes=4096)
        opened.extend([other, shut])
        began = time.monotonic()
        shut.sendall(b"go\n")
        reasons = server.reasons(1)
        ended_after_s = time.monotonic() - began
        answer = tools.ask(other)
    figure(f"T-38 {engine.label}: a window shut, 1 s allowed by the kernel: {reasons[0]}, {ended_after_s:.1f} s")

    assert ["network"] == reasons
    assert b"ping\n" == answer
