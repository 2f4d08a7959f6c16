"""What holds once holds again and again, under load: the sizes that take minutes. `make test-workers` runs them."""

import json
import os
import signal

import pytest

from penstock.workers.cells import AVAILABLE

from .conftest import pid_of
from .test_limits import is_let_in, let_in, most_at_once
from .test_serving import ended_under_load, killed_again_and_again, rolled_under_load

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="workers are a thing of Unix"),
]

counted_together = pytest.mark.skipif(not AVAILABLE, reason="no memory without a name here")


def test_kill_minus_nine_of_a_worker_fifty_times(supervise):
    """T-65. Its own connections end, no other one, and what is queued for it is served by its successor."""
    for has_spare in (True, False):
        served = supervise("app:who", "--log-level", "debug", spare=has_spare)
        seconds = sorted(killed_again_and_again(served, 50, has_spare=has_spare))
        who = "a spare one" if has_spare else "a fresh interpreter"
        print(f"\n50 kills: replaced by {who} after {seconds[len(seconds) // 2]:.2f} s, at most {seconds[-1]:.2f} s")

        assert 0 == served.stop()


def test_twenty_rolls_under_load_fail_no_request(supervise):
    """T-57. By SIGHUP: nobody who connects for each of 20,000 requests fails, nobody who stays loses an answer."""
    served = supervise("app:who")
    problems, requests = rolled_under_load(served, 20, least=20_000)
    print(f"\n20 rolls by SIGHUP: {requests} short requests, {len(problems)} failed")

    assert [] == problems
    assert 0 == served.stop()


def test_ten_supervisors_one_after_the_other_fail_no_request(supervise):
    """T-57. By SIGUSR2: each is told it by the one before."""
    served = supervise("app:who")
    pids = [served.process.pid]

    def succeed(served, _generation):
        os.kill(pids[-1], signal.SIGUSR2)
        pids.append(json.loads(served.process.stdout.readline())["pid"])

    problems, requests = rolled_under_load(served, 10, least=20_000, roll=succeed)
    print(f"\n10 supervisors by SIGUSR2: {requests} short requests, {len(problems)} failed")

    assert [] == problems
    assert 11 == len({*pids})
    assert 0 == served.process.wait(40)
    os.kill(pids[-1], signal.SIGTERM)
    served.rest()


def test_sigterm_under_load_a_hundred_times(supervise):
    """T-55. Whoever got through is answered."""
    found = [ended_under_load(supervise) for _ in range(100)]
    print(f"\n100 times SIGTERM: {sum(map(len, found))} requests unanswered")

    assert [[]] * 100 == found


@counted_together
def test_no_limit_is_passed_in_a_long_time_of_churn_and_kills(supervise):
    """`--max-per-peer` from one address over four workers: never one more, at any moment."""
    served = supervise("app:who", "--max-per-peer", "8", workers=4)
    most = most_at_once(served, 20, answers=60_000, kills=30)
    print(f"\n60,000 answers, 30 kills: at most {most} of 8 at once")
    peers = [let_in(served) for _ in range(8)]

    assert [None] * 8 == [is_let_in(served) for _ in range(8)]
    assert 8 == most
    for peer in peers:
        peer.close()
    assert 0 == served.stop()


@counted_together
def test_what_each_of_twenty_killed_workers_had_is_free_for_the_next_who_come(supervise):
    """Nobody is refused while there is a place: the supervisor has cleared what was counted before it says a word."""
    served = supervise("app:who", "--max-per-peer", "8", workers=4)
    peers = [is_let_in(served) for _ in range(8)]
    for _ in range(20):
        at = [pid_of(peer) for peer in peers]
        victim = max(at, key=at.count)
        os.kill(victim, signal.SIGKILL)
        served.said("ended by itself")
        lost = [peer for peer, pid in zip(peers, at, strict=True) if pid == victim]
        for peer in lost:
            peer.close()
            peers.remove(peer)
        peers += [is_let_in(served) for _ in lost]

        assert None not in peers
        assert None is is_let_in(served)
    for peer in peers:
        peer.close()
    assert 0 == served.stop()
