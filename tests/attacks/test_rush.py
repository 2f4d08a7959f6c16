"""T-27 at full size: 2,000 new connections a second beside 50 that are busy, each kind in a process of its own."""

import statistics

import pytest

BUSY, RATE = 50, 2000
ROUNDS, SLICE_S, ATTEMPTS = 20, 0.2, 3

# Makes connections for SLICE_S whenever a line comes, and says how many.
NEWCOMERS = """
import socket, struct, sys, time
port, rate, slice_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
clock, reset = time.perf_counter, struct.pack("ii", 1, 0)
for _ in sys.stdin:
    began, made = clock(), 0
    while (now := clock() - began) < slice_s:
        while made < now * rate:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)  # no port stays in TIME_WAIT
            made += 1
        time.sleep(0.0005)  # until the next is due: the rate is what this program is for
    print(made, flush=True)
"""


def measure(busy, newcomers):
    """Return the 99th percentiles without and with newcomers, in slices that take turns, and how many came in each."""
    quiet, rushed, made = [], [], []
    for _ in range(ROUNDS):
        busy.begin()
        quiet.append(busy.found())
        newcomers.begin()
        busy.begin()
        rushed.append(busy.found())
        made.append(newcomers.found())
    return quiet, rushed, made


@pytest.mark.full
@pytest.mark.timeout(120)
@pytest.mark.engines("pure", "native")
def test_two_thousand_newcomers_a_second_keep_fifty_busy_ones_from_nothing(start, tools, engine, figure):
    """What the server does between a question and its answer is twice what it is without, at most, for 99 of 100.

    In CPU time of the server. How much comes together is chance: the lower quartile of the slices counts, and the best
    of a few runs.
    """
    server = start("--codec", "lines")
    port = server.address[1]
    ratios = []
    with (
        tools.Crowd(tools.BUSY_CLIENT, port, BUSY, SLICE_S, tools.cpu_clock(server.pid)) as busy,
        tools.Crowd(NEWCOMERS, port, RATE, SLICE_S) as newcomers,
    ):
        while len(ratios) < ATTEMPTS and min(ratios, default=3.0) > 2.0:
            quiet, rushed, made = measure(busy, newcomers)
            without, beside = (statistics.quantiles(each, n=4)[0] for each in (quiet, rushed))
            ratios.append(beside / without)
    rate = sum(made) / (ROUNDS * SLICE_S)
    figure(
        f"T-27 {engine.label}: {BUSY} busy ones beside {rate:.0f} new connections a second: they wait for "
        f"{beside * 1e3:.2f} ms of CPU (p99), {without * 1e3:.2f} ms without, x {ratios[-1]:.2f}, in run {len(ratios)}"
    )

    assert 0 == server.end()
    assert 2.0 >= ratios[-1]
    assert RATE * 0.9 <= rate
