"""The part of a newcomer's hour that needs no clone: `make newcomer` walks all of it."""

import subprocess
import sys
from pathlib import Path

import pytest

NEWCOMER = Path(__file__).parent.parent / "tools" / "newcomer.py"


@pytest.mark.combination
@pytest.mark.timeout(180)
def test_what_a_newcomer_tries_first_works():
    """Server, classic programs, mistakes, load test and prompt, as they are met after the installation."""
    done = subprocess.run([sys.executable, NEWCOMER, "--here"], stdout=subprocess.PIPE, text=True, timeout=170)

    assert (0, 7) == (done.returncode, done.stdout.count("\u2713 ")), done.stdout
