"""Addresses as text: what is read, what is written, and what is refused with which words."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.address import Address, Family, Scheme, parse_address
from penstock.errors import ConfigurationError, ExitStatus


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:9000", Address(Scheme.TCP, "127.0.0.1", 9000, family=Family.IPV4)),
        ("tcp://[::1]:9000", Address(Scheme.TCP, "::1", 9000, family=Family.IPV6)),
        ("tcp://[::]:9000", Address(Scheme.TCP, "::", 9000, family=Family.DUAL)),
        ("tcp://[::]:9000?family=ipv6", Address(Scheme.TCP, "::", 9000, family=Family.IPV6)),
        ("tcp://[fe80::1%eth0]:9000", Address(Scheme.TCP, "fe80::1%eth0", 9000, family=Family.IPV6)),
        ("tcp://[fe80::1%25251]:9000", Address(Scheme.TCP, "fe80::1%251", 9000, family=Family.IPV6)),
        ("tcp://*:0", Address(Scheme.TCP, "*", 0, family=Family.DUAL)),
        ("tcp://example.org:65535", Address(Scheme.TCP, "example.org", 65535)),
        ("tcp://example.org:1?family=ipv6", Address(Scheme.TCP, "example.org", 1, family=Family.IPV6)),
        ("tls://db_1.internal.:5432", Address(Scheme.TLS, "db_1.internal.", 5432)),
        ("udp://0.0.0.0:53", Address(Scheme.UDP, "0.0.0.0", 53, family=Family.IPV4)),
        (
            "udp://239.1.2.3:5000?interface=eth0",
            Address(Scheme.UDP, "239.1.2.3", 5000, family=Family.IPV4, interface="eth0"),
        ),
        ("udp://[ff02::1%eth0]:5000", Address(Scheme.UDP, "ff02::1%eth0", 5000, family=Family.IPV6)),
        ("raw+icmp://127.0.0.1", Address(Scheme.RAW_ICMP, "127.0.0.1", family=Family.IPV4)),
        ("raw+icmp://[::]", Address(Scheme.RAW_ICMP, "::", family=Family.IPV6)),
        ("unix:///run/x.sock", Address(Scheme.UNIX, path="/run/x.sock", family=Family.UNIX)),
        ("unix:run/x.sock", Address(Scheme.UNIX, path="run/x.sock", family=Family.UNIX)),
        ("unix://@name", Address(Scheme.UNIX, path="@name", family=Family.UNIX)),
        ("unix:./@file", Address(Scheme.UNIX, path="./@file", family=Family.UNIX)),
        ("unix:///x?mode=0660", Address(Scheme.UNIX, path="/x", family=Family.UNIX, mode=0o660)),
        ("unix+dgram:x", Address(Scheme.UNIX_DGRAM, path="x", family=Family.UNIX)),
        ("unix+seqpacket:///x", Address(Scheme.UNIX_SEQPACKET, path="/x", family=Family.UNIX)),
        ("unix:///a%20b%25%3F%FF", Address(Scheme.UNIX, path="/a b%?\udcff", family=Family.UNIX)),
        ("fd://3", Address(Scheme.FD, fd=3)),
        ("fd://web.socket", Address(Scheme.FD, fd="web.socket")),
    ],
)
def test_the_canonical_text_of_an_address_reads_and_writes(text, address):
    """One text, one value, both ways."""

    assert address == parse_address(text)
    assert text == str(address)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("127.0.0.1:9000", "tcp://127.0.0.1:9000"),
        ("localhost:9000", "tcp://localhost:9000"),
        ("[::1]:9000", "tcp://[::1]:9000"),
        (":9000", "tcp://*:9000"),
        (":9000?family=ipv4", "tcp://0.0.0.0:9000"),
        ("*:9000?family=ipv6", "tcp://[::]:9000?family=ipv6"),
        ("*:9000?family=dual", "tcp://*:9000"),
        ("TCP://LocalHost:9000", "tcp://localhost:9000"),
        ("tcp://[0:0:0:0:0:0:0:1]:9000", "tcp://[::1]:9000"),
        ("tcp://[2001:DB8::1]:9000", "tcp://[2001:db8::1]:9000"),
        ("tcp://[::ffff:192.0.2.1]:9000", "tcp://192.0.2.1:9000"),
        ("tcp://[::]:9000?family=dual", "tcp://[::]:9000"),
        ("tcp://[::1]:9000?family=ipv6", "tcp://[::1]:9000"),
        ("tcp://localhost:9000?family=dual", "tcp://localhost:9000"),
        ("tcp://[fe80::1%25eth0]:9000", "tcp://[fe80::1%eth0]:9000"),
        ("tcp://[fe80::1%251]:9000", "tcp://[fe80::1%1]:9000"),
        ("tcp://bücher.example:80", "tcp://xn--bcher-kva.example:80"),
        ("udp://[ff02::1]:1?interface=eth0", "udp://[ff02::1%eth0]:1"),
        ("udp://[ff02::1%eth0]:1?interface=eth0&family=ipv6", "udp://[ff02::1%eth0]:1"),
        ("udp://239.1.2.3:1?interface=eth0&family=ipv4", "udp://239.1.2.3:1?interface=eth0"),
        ("unix:/run/x.sock", "unix:///run/x.sock"),
        ("unix:@name", "unix://@name"),
        ("UNIX:///Run/X", "unix:///Run/X"),
        ("unix:a b", "unix:a%20b"),
        ("unix:x?mode=600", "unix:x?mode=0600"),
        ("unix:x?mode=0o600", "unix:x?mode=0600"),
        ("unix:9000", "unix:9000"),
        ("unix:a://b", "unix:a://b"),
    ],
)
def test_other_ways_to_write_it_become_the_canonical_one(text, canonical):
    """Equal addresses are equal values, so that a duplicate shows."""

    assert canonical == str(parse_address(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty; write tcp://HOST:PORT"),
        (" tcp://a:1", "begins or ends with a space"),
        ("unix:x\n", "begins or ends with a space"),
        ("tcp://127.0.0.1:99999", "port '99999' is not a number from 0 to 65535"),
        ("tcp://127.0.0.1:65536", "port '65536' is not a number from 0 to 65535"),
        ("tcp://127.0.0.1:abc", "port 'abc' is not a number from 0 to 65535"),
        ("tcp://127.0.0.1:-1", "port '-1' is not a number"),
        ("tcp://127.0.0.1:+1", "port '+1' is not a number"),
        ("tcp://127.0.0.1:0x50", "port '0x50' is not a number"),
        ("tcp://127.0.0.1:080", "port '080' is not a number"),
        ("tcp://127.0.0.1:1_0", "port '1_0' is not a number"),
        ("tcp://127.0.0.1:٩", "port '٩' is not a number"),
        ("tcp://127.0.0.1: 1", "port ' 1' is not a number"),
        ("tcp://127.0.0.1:1/", "port '1/' is not a number"),
        ("tcp://127.0.0.1:" + "9" * 100, "is not a number from 0 to 65535"),
        ("tcp://127.0.0.1", "it has no port; write HOST:PORT"),
        ("tcp://127.0.0.1:", "it has no port"),
        ("tcp://[::1]", "it has no port"),
        ("localhost", "it has no port"),
        ("tcp://", "it has no host; write 127.0.0.1 for this machine only, * for every address"),
        ("tcp://:9000", "it has no host"),
        ("tcp://[]:9000", "it has no host"),
        ("udp://:9000", "it has no host"),
        ("9000", "write 127.0.0.1:9000 for this machine only, :9000 for every address"),
        ("tcp://::1:9000", "an IPv6 address stands in brackets; write tcp://[::1]:9000"),
        ("udp://fe80::1%eth0:9000", "write udp://[fe80::1%eth0]:9000"),
        ("::1", "write tcp://[::1]:9000"),
        ("raw+icmp://::1", "write raw+icmp://[::1]"),
        ("tcp://a:b:1", "too many colons"),
        ("tcp://[::1:9000", "the closing bracket is missing"),
        ("tcp://[::1]9000", "'9000' after the bracket is not a port; write [::1]:9000"),
        ("tcp://[127.0.0.1]:1", "'127.0.0.1' in brackets is not an IPv6 address"),
        ("tcp://\0.0.0.1:1", "is not an IPv4 address"),
        ("tcp://[::1\0]:1", "in brackets is not an IPv6 address"),
        ("tcp://[fe80::1%]:1", "zone '' is not the name of an interface"),
        ("tcp://[fe80::1%25eth0%]:1", "zone 'eth0%' is not the name of an interface"),
        ("tcp://[fe80::1%25]:1", "write %2525 for interface 25"),
        ("tcp://[fe80::1%a b]:1", "zone 'a b' is not the name of an interface"),
        ("tcp://[fe80::1%sixteen-letters-]:1", "is not the name of an interface"),
        ("tcp://127.1:80", "host '127.1' is not an IPv4 address: four numbers from 0 to 255"),
        ("tcp://0x7f.1:80", "is not an IPv4 address"),
        ("tcp://2130706433:80", "is not an IPv4 address"),
        ("tcp://10.0.0.300:80", "is not an IPv4 address"),
        ("tcp://10.0.0.01:80", "is not an IPv4 address"),
        ("tcp://a b:80", "host 'a b' is neither a name nor an IP address"),
        ("tcp://user@host:80", "is neither a name nor an IP address"),
        ("tcp://host/path:80", "is neither a name nor an IP address"),
        ("tcp://-host:80", "is neither a name nor an IP address"),
        ("tcp://a..b:80", "is neither a name nor an IP address"),
        ("tcp://" + "a" * 64 + ":80", "is neither a name nor an IP address"),
        ("tcp://" + "a." * 127 + "a:80", "is neither a name nor an IP address"),
        ("tcp://\N{SNOWMAN}\N{SNOWMAN}..x:80", "is not a name"),
        ("tpc://a:1", "unknown scheme 'tpc', known are tcp, tls, tcp+tls, udp, unix"),
        ("tpc://a:1", "did you mean tcp?"),
        ("http://a:1", "unknown scheme 'http'"),
        ("://a:1", "unknown scheme ''"),
        ("tcp:a:1", "two slashes are missing; write tcp://"),
        ("udp:53", "two slashes are missing; write udp://"),
        ("/run/x.sock", "it has no scheme; write unix:/run/x.sock"),
        ("./x.sock", "write unix:./x.sock"),
        ("@name", "write unix:@name"),
        ("unix:", "it has no path; write unix:///run/x.sock"),
        ("unix://", "it has no path"),
        ("unix:@", "it has no path"),
        ("unix://run/x.sock", "write unix:///run/x.sock if it is absolute, unix:run/x.sock if it is relative"),
        ("unix:///run/", "the path ends with a slash"),
        ("unix:a\0b", "the path has a NUL in it"),
        ("unix:@a%00b", "the path has a NUL in it"),
        ("unix:50%", "write %25 for the sign itself"),
        ("unix:\ud800", "cannot be encoded as a file name"),
        ("unix:" + "x" * 108, "the path has 108 bytes, and that of a Unix socket has at most 107"),
        ("unix:" + "é" * 54, "the path has 108 bytes"),
        ("unix:@" + "x" * 108, "the path has 108 bytes"),
        ("unix:x?mode=999", "mode '999' is not an octal number from 0000 to 0777"),
        ("unix:x?mode=", "mode '' is not an octal number"),
        ("unix:x?mode=07777", "mode '07777' is not an octal number"),
        ("unix:x?mod=0600", "unknown parameter 'mod', unix takes only mode=, tls= and proxy=; did you mean mode?"),
        ("unix:@x?mode=0600", "an abstract name has no file"),
        (
            "tcp://a:1?famly=ipv4",
            "tcp takes only family=, tls= and proxy=; did you mean family?",
        ),
        ("tcp://a:1?mode=0600", "unknown parameter 'mode', tcp takes only family=, tls= and proxy="),
        ("tcp://a:1?", "unknown parameter ''"),
        ("tcp://a:1?family=ipv4&family=ipv4", "parameter 'family' is given twice"),
        ("tcp://a:1?family=ipv5", "unknown family 'ipv5', known are ipv4, ipv6, dual; did you mean"),
        ("tcp://127.0.0.1:1?family=ipv6", "family=ipv6 does not fit the host 127.0.0.1"),
        ("tcp://[::1]:1?family=dual", "family=dual does not fit the host ::1"),
        ("tcp://[::]:1?family=ipv4", "family=ipv4 does not fit the host ::"),
        ("udp://127.0.0.1:1?interface=lo", "interface= is for a multicast group, and 127.0.0.1 is none"),
        ("udp://*:1?interface=lo", "interface= is for a multicast group, and * is none"),
        ("udp://239.0.0.1:1?interface=", "interface '' is not the name of an interface"),
        ("udp://239.0.0.1:1?interface=a b", "interface 'a b' is not the name of an interface"),
        ("udp://239.0.0.1:1?interface=lo&family=ipv6", "family=ipv6 does not fit the host 239.0.0.1"),
        ("udp://[ff02::1%lo]:1?interface=eth0", "zone 'lo' and interface=eth0 are two interfaces"),
        ("udp://239.0.0.1:1?interfaces=lo", "udp takes only family=, interface= and proxy=; did you mean interface?"),
        ("tcp://239.0.0.1:1?interface=lo", "unknown parameter 'interface', tcp takes only family=, tls= and proxy="),
        ("raw+icmp://127.0.0.1:1", "ICMP has no ports; write raw+icmp://127.0.0.1"),
        ("raw+icmp://*", "write raw+icmp://0.0.0.0 or raw+icmp://[::]"),
        ("fd://", "is neither the number of an inherited descriptor nor its name"),
        ("fd://-1", "'-1' is neither the number"),
        ("fd://03", "'03' is neither the number"),
        ("fd://3?mode=0600", "unknown parameter 'mode', fd takes only tls= and proxy="),
        ("tcp://a:1?tls=on", "TLS over TCP has a scheme of its own; write tls://HOST:PORT"),
        ("tcp://a:1?proxy=no", "proxy=no is neither on nor off"),
        ("fd://3?tls=yes", "tls=yes is none of on, off and start"),
        ("unix+dgram:x?tls=on", "unknown parameter 'tls', unix+dgram takes only mode= and proxy="),
    ],
)
def test_what_is_no_address_is_refused_with_its_own_words(text, words):
    """One line that quotes the text and says what is allowed or what to write; exit status 2."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address(text)

    problem = caught.value.problem
    assert words in problem
    assert problem.isprintable()
    assert ExitStatus.USAGE == caught.value.exit_status


def test_an_endless_text_is_quoted_in_part():
    """A mistake of any length is one short line."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address("[" + "x" * 100_000)

    assert len(caught.value.problem) < 300


def test_a_path_of_107_bytes_is_the_longest():
    """What sockaddr_un holds beside its NUL, counted in bytes."""

    assert "é" * 53 + "x" == parse_address("unix:" + "é" * 53 + "x").path
    assert "@" + "x" * 107 == parse_address("unix:@" + "x" * 107).path


_labels = st.from_regex(r"\A[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?\Z")
_names = st.builds(
    lambda labels, last: ".".join([*labels, last]), st.lists(_labels, max_size=3), st.sampled_from(["a", "org", "x1"])
)
_literals = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map("[{}]".format))
_zoned = st.builds(
    "[{}%{}]".format, st.ip_addresses(v=6, network="fe80::/10"), st.sampled_from(["eth0", "2525", "25eth0", "wl-p1.2"])
)
_network = st.builds(
    "{}://{}:{}{}".format,
    st.sampled_from(["tcp", "udp", "tls"]),
    st.one_of(_names, _literals, _zoned, st.just("*")),
    st.integers(0, 65535),
    st.just(""),
) | st.builds(
    "tcp://{}:{}?family={}".format,
    _names | st.just("*"),
    st.integers(0, 65535),
    st.sampled_from(["ipv4", "ipv6", "dual"]),
)
_groups = st.builds(
    "udp://{}:{}?interface={}".format,
    st.ip_addresses(v=4, network="224.0.0.0/4") | st.ip_addresses(v=6, network="ff00::/8").map("[{}]".format),
    st.integers(0, 65535),
    st.sampled_from(["eth0", "25", "wl-p1.2", "127.0.0.1"]),
)
_unix = st.builds(
    lambda scheme, path: f"{scheme}:" + "".join(f"%{byte:02x}" for byte in path),
    st.sampled_from(["unix", "unix+dgram", "unix+seqpacket"]),
    st.binary(min_size=1, max_size=107).filter(lambda path: b"\0" not in path and path != b"@" and path[-1:] != b"/"),
)


@given(_network | _groups | _unix | st.integers(0, 999).map("fd://{}".format))
def test_what_is_written_reads_back(text):
    """``parse_address(str(a)) == a`` and the text is a fixed point, whatever bytes a path has."""
    address = parse_address(text)

    assert address == parse_address(str(address))
    assert str(address) == str(parse_address(str(address)))
    assert str(address).isprintable()
    assert " " not in str(address)


@given(
    st.text()
    | st.builds("{}{}".format, st.sampled_from(["tcp://", "unix:", "unix://", "fd://", "raw+icmp://", "["]), st.text())
)
@example("tcp://[::1%\ud800]:1")
@example("tcp://\ud800:1")
@example("tcp://\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT ZERO}.0.0.1:1")
def test_no_text_does_worse_than_being_refused(text):
    """Any text is an address that reads back, or a ConfigurationError of one printable line."""
    problem = ""
    try:
        text = str(parse_address(text))
    except ConfigurationError as error:
        problem = error.problem

    assert problem.isprintable()
    assert problem or text == str(parse_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "tcp://127.0.0.1:1?tls=start",
        "tcp://127.0.0.1:1?proxy=off",
        "tls://[::]:1?family=ipv6&proxy=off",
        "tcp+tls://127.0.0.1:1",
        "unix:s?mode=0600&tls=start&proxy=off",
        "fd://3?tls=on&proxy=off",
        "udp://239.0.0.1:1?interface=lo&proxy=off",
    ],
)
def test_what_is_spoken_is_part_of_the_address(text):
    """TLS at once, later or perhaps; with a proxy or without; in the one form that is shown."""
    address = parse_address(text)

    assert text == str(address)
    assert ("tls=on" in text or text.startswith("tls://")) == address.is_tls
    assert ("tls=" in text or "tls://" in text) == address.may_be_tls
    assert ("proxy=off" in text) == address.direct
