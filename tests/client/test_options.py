"""What a client may ask: values that are none are refused when they are given."""

import pytest

import penstock
from penstock.client import Pool
from penstock.config import Duration, Timeouts
from penstock.config.kinds.quantities import MAX_DURATION_S


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), "5", True, MAX_DURATION_S + 1])
def test_a_duration_that_is_none_is_refused_everywhere_alike(wrong):
    """One law for all of them: the servers' options have it, and so have the client's."""
    refusals = []
    for make in (
        lambda: Duration().check(wrong),
        lambda: Timeouts(idle_s=wrong),
        lambda: penstock.ClientTimeouts(connect_s=wrong),
        lambda: penstock.Backoff(max_s=wrong),
        lambda: Pool("tcp://127.0.0.1:1", idle_s=wrong),
    ):
        with pytest.raises(penstock.ConfigurationError) as caught:
            make()
        refusals.append(caught.value.problem)

    assert [True] * 4 == [problem.startswith(refusals[0].replace(" or None", "")[:20]) for problem in refusals[1:]]


@pytest.mark.parametrize(
    ("scheme", "options", "where", "problem"),
    [
        ("udp://127.0.0.1:9", {"multicast_interface": "none"}, "multicast_interface", "'none': no "),
        ("udp://[::1]:9", {"multicast_interface": "none"}, "multicast_interface", "'none': no "),
        (
            "udp://127.0.0.1:9",
            {"multicast_interface": "192.0.2.1"},
            "multicast_interface",
            "'192.0.2.1': cannot assign",
        ),
    ],
)
@pytest.mark.parametrize("way", ["connect", "connect_sync", "try_connect", "open_datagrams"])
async def test_what_the_system_refuses_is_told_by_its_option(scheme, options, where, problem, way):
    """Not as a failure to connect: the peer has nothing to do with it."""
    made = penstock.SocketOptions(**options)
    with pytest.raises(penstock.ConfigurationError) as caught:
        if way == "connect_sync":
            penstock.connect_sync(scheme, options=made)
        elif way == "open_datagrams":
            await penstock.open_datagrams(scheme.replace(":9", ":0"), options=made)
        else:
            await getattr(penstock, way)(scheme, options=made)

    assert f"SocketOptions.{where}" == caught.value.where
    assert caught.value.problem.startswith(f"the system refuses {problem}")
