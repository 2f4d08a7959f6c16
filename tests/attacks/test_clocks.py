"""T-77: what the clocks of the machine do, no peer is blamed for."""

import re
import subprocess
from pathlib import Path

import pytest

import penstock

SOURCE = Path(penstock.__file__).parent
TIMED = ("core", "engines", "server", "client")  # whatever has a deadline
WALL_CLOCK = re.compile(
    r"\btime\.time(_ns)?\b|from time import|\bdatetime\b|CLOCK_REALTIME|gettimeofday|localtime|gmtime"
)


def test_no_deadline_goes_by_the_wall_clock():
    """So that setting it by a day, or a leap second, ends nobody: where time counts it is not even read."""
    files = [path for layer in TIMED for path in (SOURCE / layer).rglob("*") if path.suffix in (".py", ".pyx", ".pxd")]
    readers = [str(path.relative_to(SOURCE)) for path in files if WALL_CLOCK.search(path.read_text())]

    assert [] == readers


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


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
@pytest.mark.parametrize("offset_s", [10**8, -1000], ids=["later", "earlier"])
def test_wherever_the_monotonic_clock_begins_deadlines_are_kept(start, elsewhere, offset_s):
    """A machine that has run for three years, or has just begun: who speaks is served, who is silent is let go."""
    patience = ["--timeout-first-message=500ms", "--timeout-linger=0s"]
    server = start("--codec", "lines", *patience, under=elsewhere(offset_s))
    with server.connect() as silent, server.connect() as speaking:
        speaking.sendall(b"ping\n")
        answer = speaking.recv(100)
        end = silent.recv(100)
        speaking.sendall(b"still there\n")

        assert (b"ping\n", b"", b"still there\n") == (answer, end, speaking.recv(100))
    assert 0 == server.end()
    assert "Traceback" not in server.log.read_text()
