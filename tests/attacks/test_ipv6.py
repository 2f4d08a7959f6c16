"""T-26 and T-90 where there is more than one address of IPv6: in a network namespace of the test's own."""

import json
import subprocess
import sys

import pytest

# Run in the namespace, where it says what came back from each address: a line, or nothing where it was refused.
PEERS = """
import json, socket, sys
port, sources = int(sys.argv[1]), json.loads(sys.argv[2])
socks, found = [], []
for source, target in sources:
    sock = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
    sock.settimeout(20)
    socks.append(sock)
    try:
        sock.bind(socket.getaddrinfo(source, 0)[0][4])  # a zone is no part of the name that bind takes
        sock.connect(socket.getaddrinfo(target, port)[0][4])
        sock.sendall(b"ping\\n")
        found.append(sock.recv(100).decode())
    except OSError as error:
        found.append(type(error).__name__)
print(json.dumps(found))
"""
SET_UP = "ip link set lo up && for a in 2001:db8::1 2001:db8::2 2001:db8:0:1::1; do ip -6 addr add $a/128 dev lo; done"
LINK_LOCAL = (
    "ip link set lo up && ip link add lan type veth peer name far && ip link set lan up && ip link set far up"
    " && for a in fe80::1 fe80::2 fe80::9; do ip -6 addr add $a/64 dev lan nodad; done"
)
WITHOUT_IPV6 = "ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"


def ask(server, sources):
    """What each of the peers gets, all of them staying until the last has come."""
    return server.beside(PEERS, str(server.address[1]), json.dumps(sources))


@pytest.mark.engines("pure", "blocking", "native")
def test_a_64_is_one_peer_and_a_mapped_address_is_the_ipv4_one(start, namespace, engine, figure):
    """The third of one /64 is refused whichever address it has; another /64 gets in; IPv4 is denied by its own name."""
    options = ["--max-per-peer", "2", "--deny", "127.0.0.9"]
    server = start(*options, bind="tcp://[::]:0", under=namespace(SET_UP))
    one, same, other = "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"
    sources = [
        (one, one),
        (same, one),
        (same, one),
        (other, one),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.9", "127.0.0.1"),
    ]
    found = ask(server, sources)
    figure(f"T-26 {engine.label}: 2 of one /64 in, the 3rd {found[2]}, another /64 in; mapped 127.0.0.9 denied")

    assert ["ping\n", "ping\n", "ConnectionResetError", "ping\n", "ping\n", "ConnectionResetError"] == found
    assert 0 == server.end()


# By the defaults an address has a quarter, of the connections or of the threads that each of them holds.
PLACES = 64
PLENTY = {"blocking": ("--threads", str(PLACES))}


@pytest.mark.engines("pure", "blocking", "native")
def test_by_default_one_address_elsewhere_cannot_take_every_place(start, namespace, engine, figure):
    """A quarter of what there is, whichever addresses of its /64 it comes from; then another one is served."""
    options = PLENTY.get(engine.label, ("--max-connections", str(PLACES)))
    server = start(*options, bind="tcp://[::]:0", under=namespace(SET_UP))
    one, same, other = "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"
    found = ask(server, [(one if index % 2 else same, one) for index in range(PLACES)] + [(other, one)])
    served = len([each for each in found[:-1] if each == "ping\n"])
    figure(f"T-26 {engine.label}: one /64 that wants all {PLACES} places has {served}, another one is served")

    assert ["ping\n"] * (PLACES // 4) == found[: PLACES // 4]
    assert ["ConnectionResetError"] * (PLACES - PLACES // 4) == found[PLACES // 4 : -1]
    assert "ping\n" == found[-1]
    assert 0 == server.end()


@pytest.mark.engines("pure", "blocking", "native")
def test_link_local_peers_are_served_in_their_zone(start, namespace, engine, figure):
    """T-90: the zone is part of the address, of the listener's and of each peer's, and no part of a network's."""
    options = ["--deny", "fe80::9", "--access-log", "--log-format=json"]
    server = start(*options, bind="tcp://[fe80::1%lan]:0", under=namespace(LINK_LOCAL))
    found = ask(server, [(f"fe80::{number}%lan", "fe80::1%lan") for number in (1, 2, 9)])
    figure(f"T-90 {engine.label}: 2 peers of a link served by their zone, the one that is denied {found[2]}")

    assert ["ping\n", "ping\n", "ConnectionResetError"] == found
    server.logged('"conn_id": 2,')
    assert 0 == server.end()
    assert "tcp://[fe80::1%lan]:" in server.log.read_text()
    assert '"peer": "[fe80::2%lan]:' in server.log.read_text()


@pytest.mark.engines("pure", "blocking", "native")
@pytest.mark.parametrize("bind", ["tcp://*:0", "tcp://[::]:0"])
def test_where_there_is_no_ipv6_every_address_is_one_of_ipv4(start, namespace, bind, engine, figure):
    """T-90: a machine without it serves what it has."""
    server = start(bind=bind, under=namespace(WITHOUT_IPV6))
    found = ask(server, [("127.0.0.1", "127.0.0.1")])
    figure(f"T-90 {engine.label}: no IPv6 at all: {bind} is served, {len(found)} of 1 answered")

    assert ["ping\n"] == found
    assert 0 == server.end()


@pytest.mark.parametrize(
    ("bind", "problem"),
    [
        ("tcp://[::1]:0", "::1 is not an address of this machine, which has 127.0.0.1"),
        ("udp://[fe80::1]:0", "a link-local address needs its interface; write [fe80::1%eth0]"),
        ("tcp://[fe80::1%lan]:0", "unknown interface lan; this machine has lo"),
    ],
)
def test_an_address_that_is_not_there_is_named(namespace, bind, problem):
    """T-90: exit status 4, in one line that says what there is instead."""
    serve = [sys.executable, "-m", "penstock", "serve", "echo", "--no-warn-public", "--bind", bind]
    done = subprocess.run([*namespace(WITHOUT_IPV6), *serve], capture_output=True, text=True, check=False)

    assert (4, f"penstock: error: cannot listen on {bind}: {problem}\n") == (done.returncode, done.stderr)
