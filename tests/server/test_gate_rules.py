"""From the gate's options to its rules."""

import logging

import pytest

from penstock.address.networks import AccessList
from penstock.config import Action, GateConfig, ServerConfig
from penstock.reasons import Refusal
from penstock.server.gate_rules import rules_of


def rules(descriptors=None, places=None, **options):
    gate = GateConfig(**{name: value for name, value in options.items() if name not in ("model", "once")})
    rest = {name: value for name, value in options.items() if name in ("model", "once")}
    return rules_of(ServerConfig(gate=gate, **rest), AccessList(), descriptors, places=places)


@pytest.mark.parametrize(
    ("descriptors", "limit", "per_peer"),
    [(None, 10_000, 2_500), (1_000_000, 10_000, 2_500), (1024, 864, 216), (64, 43, 10), (4, 2, 1), (1, 1, 1)],
)
def test_the_default_is_ten_thousand_or_what_the_descriptors_allow(descriptors, limit, per_peer):
    """Nine tenths of what is left after a reserve; a quarter of it for one address, but not on this machine."""
    found = rules(descriptors)

    assert (limit, per_peer, False) == (found.max_connections, found.max_per_peer, found.loopback_counts)


@pytest.mark.parametrize(
    ("options", "most"),
    [({}, 1000), ({"max_connections": 5}, 1), ({"max_handshakes": 7}, 7), ({"max_handshakes": None}, None)],
)
def test_a_tenth_of_the_connections_may_have_yet_to_show_who_they_are(options, most):
    """Or as many as somebody said; where connections have no limit, these have none."""
    assert most == rules(**options).max_handshakes
    assert rules(max_connections=None).max_handshakes is None


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, (64, 25)),
        ({"max_connections": 40}, (10, 4)),
        ({"max_connections": None}, (64, 25)),
        ({"max_per_peer": 300, "max_handshakes": None}, (300, None)),
        ({"max_per_peer": None, "max_handshakes": 256}, (None, 256)),
    ],
)
def test_where_each_connection_holds_a_thread_a_share_is_one_of_the_threads(options, shares):
    """A quarter of 10,000 would be all of 256; the total stays what it was, for whoever has no thread waits."""
    found = rules(places=256, **options)

    assert shares == (found.max_per_peer, found.max_handshakes)
    assert rules(**options).max_connections == found.max_connections


@pytest.mark.parametrize(
    ("options", "limit", "warning"),
    [
        ({}, 248, None),
        ({"max_connections": None}, 248, None),
        ({"max_connections": 100}, 100, None),
        (
            {"max_connections": 250},
            248,
            "max_connections lowered from 250 to 248: each connection takes one of 256 threads, 8 are reserved",
        ),
        ({"reserve": 300}, 1, None),
    ],
)
def test_the_reserve_has_threads_of_its_own_where_each_connection_holds_one(options, limit, warning, caplog):
    """Whoever waits for a thread waits in the backlog, and a health check would stand behind."""
    found = rules(places=256, reserve_for=("192.0.2.1",), **options)

    assert (limit, max(1, limit // 4)) == (found.max_connections, found.max_per_peer)
    assert [warning] * bool(warning) == caplog.messages


def test_a_limit_that_is_too_high_is_lowered_and_both_numbers_are_said(caplog):
    """Valkey's way; found out at the start, not under load."""
    with caplog.at_level(logging.WARNING, logger="penstock"):
        found = rules(1024, max_connections=5000)

    assert 864 == found.max_connections
    assert [
        "max_connections lowered from 5000 to 864: the process is limited to 1024 descriptors; "
        "raise that with ulimit -n 5620 or LimitNOFILE= in its systemd unit"
    ] == [record.getMessage() for record in caplog.records]


def test_the_descriptors_of_the_reserve_are_no_part_of_what_everybody_shares(caplog):
    """They are taken off before the limit is worked out, and added to what is asked for."""
    with caplog.at_level(logging.WARNING, logger="penstock"):
        found = rules(1024, max_connections=5000, reserve=24, reserve_for=("127.0.0.1",))

    assert (842, 24) == (found.max_connections, found.reserve)
    assert "ulimit -n 5644" in caplog.messages[0]
    assert 0 == rules(1024, reserve=24).reserve


def test_no_limit_has_to_be_typed():
    """And is one then."""
    found = rules(64, max_connections=None, max_per_peer=None)

    assert (None, None) == (found.max_connections, found.max_per_peer)


def test_a_number_for_each_peer_holds_for_peers_on_this_machine_too():
    """Whoever says it means everybody."""
    assert rules(max_per_peer=15).loopback_counts


@pytest.mark.parametrize("options", [{"model": "one-at-a-time"}, {"once": True}])
def test_one_at_a_time_is_a_limit_of_one_that_waits(options):
    """Others wait in the backlog, whatever is said about the refused."""
    found = rules(on_refusal=("close",), **options)

    assert (1, Action.WAIT) == (found.max_connections, found.action(Refusal.LIMIT))
    assert Action.CLOSE is found.action(Refusal.DENIED)
