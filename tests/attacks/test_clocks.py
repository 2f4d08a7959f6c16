"""T-77: what the clocks of the machine do, no peer is blamed for."""

import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

import penstock

SOURCE = Path(penstock.__file__).parent
TIMED = ("core", "engines", "server", "client")  # whatever has a deadline
# What reads it; a type of `datetime` in an annotation does not. Certificates are valid by it: nothing ends with one.
WALL_CLOCK = re.compile(
    r"(?<!dt\.)(?<!expiry\()(?<!warnings\()\btime\.time(_ns)?\b|from time import (?!(monotonic|perf_counter)\n)"
    r"|\bdate(time)?\.(now|utcnow|today|fromtimestamp)\b|CLOCK_REALTIME|gettimeofday|localtime|gmtime"
)
DAY_S = 86_400
SHIM = Path(__file__).with_name("wall_clock.c")


def test_no_deadline_goes_by_the_wall_clock():
    """So that setting it by a day, or a leap second, ends nobody: where time counts it is not even read."""
    files = [path for layer in TIMED for path in (SOURCE / layer).rglob("*") if path.suffix in (".py", ".pyx", ".pxd")]
    readers = [str(path.relative_to(SOURCE)) for path in files if WALL_CLOCK.search(path.read_text())]

    # Certificates, see above; a ticket of TLS says by it how long it is good for: what is refused costs a handshake.
    assert {"client/sessions.py", "server/certificate_files.py", "server/dev_tls.py"} == set(readers)


class WallClock:
    """A wall clock that is a program's own, and is set while it runs."""

    def __init__(self, directory):
        self._file = directory / "ahead"
        self._file.write_bytes(bytes(8))
        library = directory / "wall_clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SHIM], check=True)
        self.environment = {**os.environ, "LD_PRELOAD": str(library), "WALL_CLOCK": str(self._file)}

    def set_ahead(self, seconds):
        """From now on it is so far ahead of everybody else's."""
        with open(self._file, "r+b") as file:
            file.write(struct.pack("=q", seconds))


@pytest.fixture
def wall_clock(tmp_path):
    if shutil.which("cc") is None or not sys.platform.startswith("linux"):
        pytest.skip("there is no C compiler, or nothing can be preloaded")
    return WallClock(tmp_path)


@pytest.fixture
def elsewhere():
    """A function that says how to run a command in a time namespace of its own; the test skips where it cannot."""

    def under(offset_s):
        command = ["unshare", "--time", f"--monotonic={offset_s}", "--boottime=0", "--fork"]
        try:
            done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("unshare is not installed")
        if done.returncode:
            pytest.skip(f"no time namespace here: {done.stderr.strip()}")
        return command

    return under


def ends(server, count):
    """What the log says of every end, in the order of connections, once so many have ended."""
    for number in range(1, count + 1):
        server.logged(f'"conn_id": {number},')
    assert 0 == server.end()
    records = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    closed = [record for record in records if record["event"] == "closed"]
    return sorted(closed, key=lambda record: record["conn_id"])


@pytest.mark.engines("pure", "blocking", "native")
def test_whoever_sets_the_wall_clock_by_a_day_ends_nobody(start, wall_clock, engine, figure):
    """Back and forth, while messages are on their way: who is silent is let go once and in time, and the log knows
    how long everybody was there.
    """
    patience = ["--timeout-first-message=600ms", "--timeout-linger=0s"]
    logged = ["--access-log", "--log-format=json"]
    server = start("--codec", "lines", *patience, *logged, env=wall_clock.environment)
    began_at = time.monotonic()
    socks = [server.connect() for _ in range(10)]
    answers = []
    for day in (0, 1, -1, 0, 1):
        for sock in socks:
            sock.sendall(b"be")
        wall_clock.set_ahead(day * DAY_S)
        for sock in socks:
            sock.sendall(b"gun\n")
            answers.append(sock.recv(100))
    silent = server.connect()
    wall_clock.set_ahead(-DAY_S)
    silence = silent.recv(100)
    wall_clock.set_ahead(DAY_S)
    for sock in (*socks, silent):
        sock.close()
    closed = ends(server, 11)
    took_s = time.monotonic() - began_at
    days = {round((datetime.fromisoformat(record["ts"]).timestamp() - time.time()) / DAY_S) for record in closed}
    figure(f"T-77 {engine.label}: the wall clock set by a day, back and forth, under 10 peers: none of them ended")

    assert [b"begun\n"] * 50 == answers
    assert b"" == silence
    assert ["first_message_timeout"] == [record["reason"] for record in closed if record["conn_id"] == 11]
    assert ["peer_closed"] * 10 == [record["reason"] for record in closed if record["conn_id"] != 11]
    assert days <= {-1, 1}
    assert 1 in days
    assert all(0 < record["duration_s"] < took_s for record in closed)


@pytest.mark.full
@pytest.mark.parametrize("load", ["native", "pure"])
@pytest.mark.engines("pure")
def test_no_report_has_a_negative_time_while_the_wall_clock_is_set(start, wall_clock, load, figure):
    """`penstock bench` and `penstock probe`, with the clock set by a day every few milliseconds."""
    server = start()
    url = f"tcp://127.0.0.1:{server.address[1]}"
    penstock_ = [sys.executable, "-m", "penstock"]
    commands = [
        [*penstock_, "bench", "--json", "-z", "1s", "--warmup", "300ms", "-c", "5", "--engine", load, url],
        [*penstock_, "bench", "--json", "-z", "1s", "--rate", "500", "-c", "5", "--engine", load, url],
        [*penstock_, "probe", "--json", url],
    ]
    said = []
    for command in commands:
        popen = subprocess.Popen(command, env=wall_clock.environment, stdout=subprocess.PIPE)
        for day in itertools.cycle((1, -1, 0)):
            wall_clock.set_ahead(day * DAY_S)
            try:
                said.append(json.loads(popen.communicate(timeout=0.005)[0]))
                break
            except subprocess.TimeoutExpired:
                continue
    numbers = [number for report in said for number in times(report)]
    longest_s = max(numbers)
    figure(f"T-77 {load} load: {len(numbers)} times while the wall clock was set: {min(numbers)} to {longest_s:.2g} s")

    assert [{}, {}] == [report["errors"] for report in said[:2]]
    assert len(numbers) > 50
    assert min(numbers) >= 0.0
    assert longest_s < 60.0


def times(report, name=""):
    """Every number of a report that is a duration."""
    if isinstance(report, dict):
        for key, value in report.items():
            inside = "latency" if name.startswith("latency") else key
            yield from times(value, inside)
    elif isinstance(report, list):
        for value in report:
            yield from times(value, name)
    elif isinstance(report, float) and name.endswith(("_s", "latency", "seconds")) and not name.endswith("_per_s"):
        yield report


def at_boot():
    """How to set back the monotonic clock so that it begins a little above 0."""
    return 2 - int(time.clock_gettime(time.CLOCK_MONOTONIC))


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
@pytest.mark.parametrize("offset_s", [lambda: 10**8, at_boot], ids=["later", "at-boot"])
def test_wherever_the_monotonic_clock_begins_deadlines_are_kept(start, elsewhere, offset_s):
    """A machine that has run for three years, or has just begun: who speaks is served, who is silent is let go once."""
    began = time.monotonic()
    options = ["--timeout-first-message=500ms", "--timeout-linger=0s", "--access-log", "--log-format=json"]
    server = start("--codec", "lines", *options, under=elsewhere(offset_s()))
    with server.connect() as silent, server.connect() as speaking:
        speaking.sendall(b"ping\n")
        answer = speaking.recv(100)
        end = silent.recv(100)
        speaking.sendall(b"still there\n")

        assert (b"ping\n", b"", b"still there\n") == (answer, end, speaking.recv(100))
    closed = ends(server, 2)

    assert ["first_message_timeout", "peer_closed"] == [record["reason"] for record in closed]
    assert all(0 < record["duration_s"] < time.monotonic() - began for record in closed)
    assert "Traceback" not in server.log.read_text()
