"""Who may connect at all: the longest prefix wins, whoever wrote it."""

from ipaddress import IPv4Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.address.networks import AccessList, check_entry
from penstock.errors import ConfigurationError


def test_without_entries_everybody_is_let_in():
    """Nothing said, nothing refused."""
    access = AccessList()

    assert access.permits("192.0.2.1")
    assert access.permits_user(None, None)


@pytest.mark.parametrize(
    ("host", "permitted"),
    [
        ("10.1.2.3", True),
        ("10.9.0.1", False),
        ("10.9.9.9", True),
        ("192.0.2.1", False),
        ("2001:db8::1", True),
        ("2001:db8:0:1::5", False),
        ("2001:dead::1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_the_longest_prefix_decides(host, permitted):
    """A network inside another is the exception to it, as deep as one likes."""
    access = AccessList(allow=["10.0.0.0/8", "10.9.9.9", "2001:db8::/32"], deny=["10.9.0.0/16", "2001:db8:0:1::/64"])

    assert permitted is access.permits(host)


def test_of_the_same_network_deny_stays():
    """A contradiction is decided for the safe side."""
    assert not AccessList(allow=["192.0.2.0/24"], deny=["192.0.2.0/24"]).permits("192.0.2.7")


def test_deny_alone_lets_everybody_else_in():
    """Who is not named is refused only where somebody was allowed by name."""
    access = AccessList(deny=["192.0.2.0/24"])

    assert access.permits("198.51.100.1")
    assert not access.permits("192.0.2.7")
    assert access.permits("::1")


@pytest.mark.parametrize("entry", ["192.0.2.0/24", "::ffff:192.0.2.0/120"])
@pytest.mark.parametrize("host", ["192.0.2.7", "::ffff:192.0.2.7"])
def test_an_ipv4_mapped_network_or_peer_is_the_ipv4_one(entry, host):
    """A dual-stack socket shows IPv4 peers in IPv6 clothes: a list must not be passed by changing them."""
    assert not AccessList(deny=[entry]).permits(host)


@pytest.mark.parametrize(
    ("uid", "gid", "permitted"),
    [(1000, 5, True), (1000, 33, True), (7, 33, True), (8, 33, False), (7, 5, False), (None, None, False)],
)
def test_unix_peers_are_judged_by_user_then_by_group(uid, gid, permitted):
    """A user is the longer prefix of the two."""
    access = AccessList(allow=["uid:1000", "gid:33", "10.0.0.0/8"], deny=["uid:8"])

    assert permitted is access.permits_user(uid, gid)


def test_networks_say_nothing_about_unix_peers_and_users_nothing_about_the_network():
    """Each kind of entry judges its own kind of peer."""
    assert AccessList(allow=["10.0.0.0/8"]).permits_user(1, 1)
    assert AccessList(allow=["uid:1"]).permits("192.0.2.1")


@pytest.mark.parametrize(
    "entry", ["", "10.0.0.0/33", "example.com", "uid:", "uid:-1", "uid:x", "10.0.0.0/8/8", "1" * 9]
)
def test_what_is_no_entry_is_refused_with_the_grammar(entry):
    """The error says what can be written."""
    if entry == "1" * 9:
        entry = "9" * 50
    with pytest.raises(ConfigurationError, match=r"is not a network .*an address, uid:NUMBER or gid:NUMBER"):
        check_entry(entry)


def test_a_network_with_bits_beyond_its_prefix_is_refused_with_the_one_that_is_meant():
    """Which of the two was meant is not guessed."""
    with pytest.raises(ConfigurationError, match=r"'10\.1\.2\.3/8' has bits beyond its prefix: write 10\.0\.0\.0/8"):
        check_entry("10.1.2.3/8")


def test_to_be_named_is_more_than_not_to_be_refused():
    """A list says nothing about those it does not mention, whatever other kinds it mentions."""
    network, user = AccessList(("192.0.2.0/24",), ("192.0.2.9",)), AccessList(("uid:7",))

    assert [True, False, False] == [network.names(host, None, None) for host in ("192.0.2.1", "192.0.2.9", "10.0.0.1")]
    assert [False, False] == [network.names("", 7, 7), user.names("192.0.2.1", None, None)]
    assert [True, False] == [user.names("", 7, 1), user.names("", 8, 1)]
    assert not AccessList().names("192.0.2.1", None, None)


NETWORKS = st.builds(
    lambda bits, length: IPv4Network((bits >> (32 - length) << (32 - length), length)),
    st.sampled_from([0x0A000000, 0x0A010203, 0x0A0102FF, 0xC0000201]),
    st.integers(0, 32),
)


@given(st.lists(NETWORKS, max_size=6), st.lists(NETWORKS, max_size=6), st.integers(0x0A010100, 0x0A010300) | st.just(0))
def test_the_table_says_what_a_search_through_all_networks_says(allow, deny, number):
    """An independent reading of the rule, one comparison at a time."""
    host = ip_address(number)
    found = [(network.prefixlen, 1, False) for network in deny if host in network]
    found += [(network.prefixlen, 0, True) for network in allow if host in network]
    expected = max(found)[2] if found else not allow

    assert expected is AccessList(map(str, allow), map(str, deny)).permits(str(host))
