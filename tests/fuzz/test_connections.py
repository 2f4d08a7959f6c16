"""A short run of the random state machine of connections, on each engine: `make fuzz-connections` is the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "fuzz" / "connections.py"


@pytest.mark.parametrize("seed", [1, 2])
def test_every_connection_has_one_end_whatever_is_done_to_it(engine, seed):
    """One ``closed`` for each ``accepted``, the server stops, nothing is left; what fails names its seed."""
    label = engine.label.removeprefix("eager-").replace("eager", "pure")
    options = ["--engine", label, "--seed", str(seed * 1000), "--runs", "8"]
    command = [sys.executable, str(FUZZ), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.engines("native")
def test_every_connection_over_tls_has_one_end_whatever_is_done_to_it(engine):
    """The same, where records are spoiled too."""
    pytest.importorskip("trustme")
    command = [sys.executable, str(FUZZ), "--engine", engine.label, "--tls", "--seed", "3000", "--runs", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
