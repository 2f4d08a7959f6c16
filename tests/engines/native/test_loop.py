"""The loop of the native engine, where there is no memory for a moment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("_testcapi")  # not every interpreter has it

SCRIPT = Path(__file__).with_name("starved_loop.py")
PATIENCE_S = 40


def tried(what):
    """Try it, with each allocation failing in turn; return what was lost, and how often the call returned."""
    done = subprocess.run([sys.executable, SCRIPT, what], capture_output=True, text=True, timeout=PATIENCE_S)

    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_a_task_whose_future_is_done_is_resumed_whichever_allocation_fails():
    """More often in a row than there are handles in reserve; else it could not even be cancelled."""
    lost, told = tried("resumption")

    assert [] == lost
    assert told > 0


def test_a_callback_of_another_thread_is_called_whichever_allocation_fails():
    """Or the thread is told that it is not."""
    lost, told = tried("thread")

    assert [] == lost
    assert told > 0


def test_a_callback_that_is_noted_in_reserve_has_the_context_it_was_given():
    """As any other one; and its handle cancels it."""
    lost, told = tried("call")

    assert [] == lost
    assert told > 0
