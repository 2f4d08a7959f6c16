"""T-88: one datagram to everybody in a network, with somebody else's address, has each server answer that."""

import pytest

# A network of its own, with a cable whose other end is there too. What is sent to everybody comes back to its sender.
SET_UP = (
    "ip link set lo up && ip link add lan type veth peer name far && ip addr add 10.77.0.1/24 brd + dev lan"
    " && ip -6 addr add fe80::1/64 dev lan nodad && ip link set lan up && ip link set far up"
    " && ip route add 239.0.0.0/8 dev lan"
)
EVERY_IPV4, ONE_IPV4, EVERY = 9001, 9002, 9003

# Run there: somebody else on the machine is in the group. After each datagram comes one that is surely answered.
ASKING = """
import json, socket
index = socket.if_nametoindex("lan")
own = socket.inet_aton("10.77.0.1")
member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.1.1") + own)
answered = []
for port in (9001, 9002, 9003):
    for target in ("10.77.0.1", "10.77.0.255", "239.1.1.1", "fe80::1", "ff02::1"):
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        if family == socket.AF_INET6 and port != 9003:
            continue
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
                sock.sendto(b"ping", (target, port, 0, index))
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
                sock.sendto(b"ping", (target, port))
            sock.sendto(b"pong", ("fe80::1", port, 0, index) if family == socket.AF_INET6 else ("10.77.0.1", port))
            sock.settimeout(20)
            if sock.recv(100) == b"ping":
                answered.append([port, target])
print(json.dumps(answered))
"""


@pytest.mark.engines("pure", "blocking", "native")
def test_what_is_sent_to_a_group_that_nobody_here_joined_is_not_answered(start, namespace, engine, figure):
    """By default Linux hands it to every socket that is bound to every address, if anybody on the machine is in the
    group; and of IPv6's group of all machines everybody is. A broadcast reaches those sockets, and no other.
    """
    binds = [f"udp://0.0.0.0:{EVERY_IPV4}", f"udp://10.77.0.1:{ONE_IPV4}", f"udp://[::]:{EVERY}"]
    more = [option for bind in binds[1:] for option in ("--bind", bind)]
    server = start(*more, bind=binds[0], under=namespace(SET_UP))
    answered = [tuple(pair) for pair in server.beside(ASKING)]
    figure(f"T-88 {engine.label}: sent to all machines of a network: only broadcast to 0.0.0.0 is answered")

    assert [
        (EVERY_IPV4, "10.77.0.1"),
        (EVERY_IPV4, "10.77.0.255"),
        (ONE_IPV4, "10.77.0.1"),
        (EVERY, "10.77.0.1"),
        (EVERY, "10.77.0.255"),
        (EVERY, "fe80::1"),
    ] == answered
    assert 0 == server.end()
