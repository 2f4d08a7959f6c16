"""The programs that tests start begin as a terminal's do, whoever started the tests."""

import signal
import subprocess
import sys

IGNORED = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('SigIgn')))"
NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


def ignored(*command):
    """Return which of the signals that end a program one ignores, which says its whole set."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [number.name for number in NUMBERS if int(done.stdout, 16) >> number - 1 & 1]


def test_children_ignore_no_signal():
    """Neither SIGINT, which a script's background job ignores, nor SIGHUP, as of nohup."""

    assert [] == ignored(sys.executable, "-c", IGNORED)
    assert ["SIGINT"] == ignored("sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", IGNORED)


def test_that_is_so_where_the_tests_are_a_background_job():
    """The test above, run so."""
    background = ["sh", "-c", 'trap "" INT HUP QUIT; exec "$@"', "sh", sys.executable, "-m", "pytest", "-q"]
    done = subprocess.run([*background, f"{__file__}::test_children_ignore_no_signal"], capture_output=True, text=True)

    assert 0 == done.returncode, done.stdout
