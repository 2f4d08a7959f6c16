"""What the kernel is told about TCP peers, and what it says."""

import socket

import pytest

import penstock
from penstock.config import TcpConfig
from penstock.errors import ConfigurationError
from penstock.server import tcp_options
from penstock.server.sockets import open_listeners


@pytest.fixture
def listener():
    (listener,) = open_listeners([penstock.address.parse_address("tcp://127.0.0.1:0")])
    yield listener
    listener.sock.close()


def options_of(sock):
    """What is in force, in the units of the kernel."""
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    return [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (TcpConfig(keepalive_s=1, keepalive_interval_s=1, keepalive_probes=1, user_timeout_s=0.001), [1, 1, 1, 1]),
        (
            TcpConfig(
                keepalive_s=32767, keepalive_interval_s=32767, keepalive_probes=127, user_timeout_s=2147483647 / 1000
            ),
            [32767, 32767, 127, 2147483647],
        ),
    ],
)
def test_the_ends_of_each_range_are_in_force(listener, config, expected):
    """What an option allows, the kernel takes as it was said: the least and the most of each."""
    refused = tcp_options.set_tcp_options(listener, config)

    assert ([], expected) == (refused, options_of(listener.sock))


@pytest.mark.parametrize(
    "beyond",
    [
        {"keepalive_s": 32768},
        {"keepalive_s": 0.5},
        {"keepalive_s": 1.5},
        {"keepalive_interval_s": 32768},
        {"keepalive_interval_s": 1.001},
        {"user_timeout_s": 2147483.648},
        {"user_timeout_s": 0.0005},
    ],
)
def test_what_is_beyond_is_refused_when_it_is_made(beyond):
    """Neither an error of the system once it serves, nor another value than the one that was said."""
    (name,) = beyond
    with pytest.raises(ConfigurationError) as caught:
        TcpConfig(**beyond)

    assert f"TcpConfig.{name}" == caught.value.where


def test_what_the_system_refuses_is_told(listener, monkeypatch):
    """An option that is not in force is worth knowing about before it is needed."""
    monkeypatch.setattr(
        tcp_options,
        "_options",
        lambda _: [(socket.IPPROTO_TCP, "TCP_KEEPIDLE", 32768, "tcp_keepalive"), (0, "TCP_NONE", 1, "none")],
    )

    assert [
        f"{listener.address}: tcp_keepalive is not in force: TCP_KEEPIDLE=32768: invalid argument"
    ] == tcp_options.set_tcp_options(listener, TcpConfig())
