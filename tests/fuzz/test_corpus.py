"""What the fuzzers found worth keeping, on this interpreter: no law of `fuzz/targets.py` is broken."""

import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[2] / "fuzz"
sys.path.insert(0, str(FUZZ))
from targets import TARGETS  # noqa: E402 - a directory of programs, not a package

sys.path.remove(str(FUZZ))


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_the_corpus_obeys_the_laws(name):
    """None raises; each target has a corpus."""
    inputs = sorted((FUZZ / "corpus" / name).iterdir())
    for file in inputs:
        TARGETS[name](file.read_bytes())

    assert inputs != []


def test_no_corpus_is_without_a_target():
    """A target that was renamed takes its corpus along."""

    assert sorted(TARGETS) == sorted(path.name for path in (FUZZ / "corpus").iterdir())
