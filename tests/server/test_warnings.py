"""What a configuration allows and perhaps does not mean is said at the start, whoever starts it."""

import logging

import pytest

import penstock
from penstock.config import ServerConfig
from penstock.server.warnings import warnings_about

OPEN = penstock.GateConfig(max_connections=None, max_per_peer=None)
PATIENT = penstock.Timeouts(idle_s=None)


def echo(message: bytes) -> bytes:
    """Answer with the same."""
    return message


async def test_a_program_that_serves_everybody_is_told_in_the_log(caplog):
    """With the address that other machines see, and the port that the system chose."""
    with caplog.at_level(logging.WARNING, logger="penstock"):
        async with penstock.serve(echo, codec="lines", bind="tcp://0.0.0.0:0", timeouts=PATIENT) as server:
            (address,) = server.addresses

    exposed, idle = caplog.messages
    assert exposed.startswith(f"{address}: open to every host that can reach this machine, without encryption; ")
    assert "timeout_idle: off on a public address: idle clients stay forever" == idle


@pytest.mark.parametrize(
    ("bind", "options", "expected"),
    [
        ("tcp://127.0.0.1:0", {"gate": OPEN, "timeouts": PATIENT}, []),
        ("unix:/tmp/s", {"gate": OPEN, "timeouts": PATIENT}, []),
        ("tcp://192.0.2.1:9", {"warn_public": False}, []),
        (
            "udp://192.0.2.1:9",
            {"gate": OPEN, "warn_public": False},
            [
                "max_connections, max_per_peer: off on a public address: one client can take all capacity",
            ],
        ),
        (
            "tcp://127.0.0.1:9",
            {"timeouts": penstock.Timeouts(write_s=60.0)},
            [
                "timeout_write is 1m, but the kernel drops a TCP client that stops reading after tcp_user_timeout, 30s:"
                " set that, too"
            ],
        ),
        ("unix:/tmp/s", {"timeouts": penstock.Timeouts(write_s=60.0)}, []),
    ],
)
def test_what_is_doubted(bind, options, expected):
    """What protects is missed where other machines reach it, and nothing is said of what nobody reaches."""
    assert expected == warnings_about(ServerConfig(bind=(bind,), **options), (bind,))
