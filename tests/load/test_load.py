"""What is asked of a server, and how several processes share it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.load.pace import Pace

from .conftest import load_of

LOADS = st.builds(
    lambda connections, count, pace: load_of("tcp://127.0.0.1:9", connections=connections, count=count, pace=pace),
    st.integers(1, 20_000),
    st.none() | st.integers(1, 10**12),
    st.none() | st.just(Pace(100, 900, 3.0)),
)


@given(load=LOADS, processes=st.integers(1, 256), seconds=st.floats(0, 60))
def test_all_shares_together_are_the_load(load, processes, seconds):
    """Connections, requests, and when they are due."""
    shares = [load.share(number, processes) for number in range(processes)]

    assert load.connections == sum(share.connections for share in shares)
    assert (load.count or 0) == sum(share.count or 0 for share in shares)
    assert {load.count is None} == {share.count is None for share in shares}
    if load.pace is not None:
        assert load.pace.due(seconds) == sum(share.pace.due(seconds) for share in shares)


@given(load=LOADS, processes=st.integers(1, 256))
def test_shares_are_even(load, processes):
    """To one."""
    shares = [load.share(number, processes) for number in range(processes)]
    for of in ([share.connections for share in shares], [share.count or 0 for share in shares]):
        assert max(of) - min(of) <= 1


@pytest.mark.parametrize(
    ("address", "codec", "told"),
    [
        ("tcp://127.0.0.1:9", "raw", (False, False, True, b"hello")),
        ("tcp://127.0.0.1:9", "lines", (False, False, False, b"hello\n")),
        ("unix:/s", "length-prefixed", (False, False, False, b"\0\0\0\5hello")),
        ("unix+seqpacket:/s", "raw", (True, False, False, b"hello")),
        ("unix+dgram:/s", "lines", (True, True, False, b"hello")),
        ("udp://127.0.0.1:9", "raw", (True, True, False, b"hello")),
    ],
)
def test_what_is_a_record_needs_no_frame(address, codec, told):
    """Whether it is one, may be lost, has no bounds; and a request on the wire."""
    load = load_of(address, codec)

    assert told == (load.is_records, load.is_datagrams, load.is_raw, load.frame)
