"""Every kind of foreign handler beside every option of a server: it has it, or the start refuses it by name."""

import pytest

import penstock
from penstock.config.options import options
from penstock.errors import ConfigurationError
from penstock.testing.certificates import authority, server_certificate

from .shouts import DATAGRAMS, STREAMS, service

TCP, UDP = "tcp://127.0.0.1:0", "udp://127.0.0.1:0"

# What is set of each option that a service can have or not; with what it needs beside it.
BESIDE = {
    "backlog": {"backlog": 5},
    "reuse_address": {"reuse_address": False},
    "tls_cert": {"tls_cert": "CERTIFICATE"},
    "tls_client_ca": {"tls_client_ca": "FILE", "tls_cert": "CERTIFICATE"},
    "tls_min": {"tls_min": "1.3", "tls_cert": "CERTIFICATE"},
    "alpn": {"alpn": ["x"], "tls_cert": "CERTIFICATE"},
    "tls_dev": {"tls_dev": True},
    "codec": {"codec": "lines"},
    "bad_messages": {"bad_messages": "skip"},
    "model": {"model": "process"},
    "max_processes": {"max_processes": 5},
    "timeout_program": {"timeout_program": "5s"},
    "max_connections": {"max_connections": 5},
    "max_per_peer": {"max_per_peer": 5},
    "max_handshakes": {"max_handshakes": 5},
    "max_orphans": {"max_orphans": 5},
    "accept_rate": {"accept_rate": "5/s"},
    "accept_rate_per_peer": {"accept_rate_per_peer": "5/s"},
    "allow": {"allow": ["127.0.0.0/8"]},
    "deny": {"deny": ["10.0.0.0/8"]},
    "peer_prefix_ipv4": {"peer_prefix_ipv4": 24},
    "reserve": {"reserve": 1, "reserve_for": ["127.0.0.1"]},
    "proxy_from": {"proxy_from": ["127.0.0.1"]},
    "on_refusal": {"on_refusal": "close"},
    "refusal_text": {"refusal_text": "busy", "on_refusal": "close"},
    "on_after_close": {"on_after_close": "cancel"},
    "timeout_handshake": {"timeout_handshake": "5s"},
    "timeout_first_message": {"timeout_first_message": "5s"},
    "timeout_idle": {"timeout_idle": "5s"},
    "timeout_receive_idle": {"timeout_receive_idle": "5s"},
    "timeout_message": {"timeout_message": "5s"},
    "min_message_rate": {"min_message_rate": 1024},
    "timeout_write": {"timeout_write": "5s"},
    "timeout_lifetime": {"timeout_lifetime": "5s"},
    "timeout_drain": {"timeout_drain": "5s"},
    "timeout_linger": {"timeout_linger": "5s"},
    "timeout_after_close": {"timeout_after_close": "5s"},
    "drain_spread": {"drain_spread": "5s"},
    "write_max": {"write_max": "9MiB"},
    "slow_consumer": {"slow_consumer": "drop_oldest"},
    "max_message_rate": {"max_message_rate": "5/s"},
    "tcp_keepalive": {"tcp_keepalive": "5s"},
    "tcp_user_timeout": {"tcp_user_timeout": "5s"},
}
# The same goes for these: parts of one above, or of the machine, the process and the supervisor around all services.
LIKE_ANOTHER = {
    *("tls_key", "tls_client_auth", "tls_crl", "tls_ciphers", "alpn_required", "tls_link"),
    *("peer_prefix_ipv6", "reserve_for", "on_message_rate", "write_high", "write_low"),
    *("tcp_keepalive_interval", "tcp_keepalive_probes", "tcp_unsent"),
}
AROUND_ALL = {
    *("bind", "uds_mode", "uds_owner", "warn_public", "once", "threads", "engine", "read_size", "batch_messages"),
    *("workers", "timeout_worker", "timeout_worker_start"),
    *("max_worker_connections", "max_worker_age", "spare_worker", "max_worker_memory", "max_sessions"),
    *("memory_limit", "write_total", "stall_warning", "receive_buffer"),
    *("datagram_rate_per_peer", "datagram_amplification"),
}
SECTIONS_AROUND_ALL = {"Logging", "Process"}

OF_MESSAGES = {"codec", "bad_messages", "timeout_message", "min_message_rate", "slow_consumer", "max_message_rate"}
OF_PROGRAMS = {"max_processes", "timeout_program"}
OF_CONNECTIONS = {
    *("backlog", "tls_cert", "tls_client_ca", "tls_min", "alpn", "tls_dev"),
    *("max_connections", "max_per_peer", "max_handshakes", "max_orphans", "accept_rate", "accept_rate_per_peer"),
    *("reserve", "proxy_from", "on_refusal", "refusal_text"),
    *("timeout_handshake", "timeout_first_message", "timeout_idle", "timeout_receive_idle", "timeout_write"),
    *("timeout_lifetime", "timeout_linger", "drain_spread", "tcp_keepalive", "tcp_user_timeout"),
}

REFUSED = {
    **dict.fromkeys(STREAMS, OF_MESSAGES | OF_PROGRAMS),
    "exec": OF_MESSAGES | {"timeout_program"},
    "filter": {"codec", "bad_messages"},
}
REFUSED_OF_DATAGRAMS = {
    **dict.fromkeys(DATAGRAMS, OF_MESSAGES | OF_PROGRAMS | OF_CONNECTIONS | {"model"}),
    "filter": {"codec", "bad_messages", "model"},
}


def refused(made, bind):
    """Return what starts with each option alone have said, of those that were refused."""
    certificate = server_certificate()
    stands_for = {"CERTIFICATE": [certificate], "FILE": authority().ca}
    found = {}
    for name, beside in BESIDE.items():
        given = {option: stands_for.get(str(value), value) for option, value in beside.items()}
        ciphered = "tls_cert" in given or "tls_dev" in given
        binds = ["tls://127.0.0.1:0" if each == TCP and ciphered else each for each in bind]
        said = _refusal(made, bind=binds, **given)
        if said is not None:
            found[name] = said
    return found


def _refusal(made, **given):
    try:
        penstock.serve(made, **given).check()
    except ConfigurationError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", STREAMS)
def test_a_handler_of_streams_has_each_option_or_refuses_it(name):
    """What it refuses it names, and the option."""
    found = refused(service(STREAMS, name), [TCP])

    assert REFUSED[name] == set(found)
    assert [] == [said for said in found.values() if name not in said]


@pytest.mark.parametrize("name", DATAGRAMS)
def test_a_handler_of_datagrams_has_each_option_or_refuses_it(name):
    """A filter is asked lines of connections, too: an option of those is for its other addresses."""
    bind = [f"{UDP}?proxy=off", TCP] if name == "filter" else [UDP]
    found = refused(service(DATAGRAMS, name), bind)

    assert REFUSED_OF_DATAGRAMS[name] == set(found)
    assert "--model process is for connections" in found.pop("model")
    assert [] == [said for said in found.values() if name not in said]


def test_every_option_is_tried_or_is_around_all():
    """So that one that is added has its place here."""
    every = {option.name for option in options() if option.section not in SECTIONS_AROUND_ALL}

    assert every == set(BESIDE) | LIKE_ANOTHER | AROUND_ALL
