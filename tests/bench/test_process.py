"""What is read of a server from outside: its CPU time and its memory; and how it is started and ended."""

import sys

import pytest

from bench import machine
from bench.build import UnavailableError
from bench.process import TICK_NS, FailedError, Server

MIB = 2**20
CORE = machine.choose_cores().server


@pytest.fixture
def program(tmp_path):
    """Make a Python program of a test's own; returns its command."""

    def make(source):
        path = tmp_path / "program.py"
        path.write_text(source)
        return [sys.executable, str(path)]

    return make


BURN = """
import os, signal, threading, time
def burn(ns):
    until = time.thread_time_ns() + ns
    while time.thread_time_ns() < until: pass
"""


def test_cpu_time_counts_every_thread_that_ever_was(program):
    """Two threads have burnt 60 ms each and ended: their time is not lost with them."""
    command = program(
        BURN
        + """
threads = [threading.Thread(target=burn, args=(60_000_000,)) for _ in range(2)]
for t in threads: t.start()
for t in threads: t.join()
print("READY", 1, flush=True)
signal.pause()
"""
    )
    with Server(command, CORE) as server:
        seen = server.cpu_ns()

    assert seen >= 120_000_000


@pytest.mark.parametrize("ended", [True, False])
def test_cpu_time_counts_children(program, ended):
    """One child has burnt 100 ms; it has ended and was waited for, or it lives."""
    command = program(
        BURN
        + f"""
read, write = os.pipe()
parent_ended, _held_by_the_parent = os.pipe()
if os.fork() == 0:
    os.close(_held_by_the_parent)
    burn(100_000_000)
    os.write(write, b"x")
    if not {ended}: os.read(parent_ended, 1)
    os._exit(0)
os.read(read, 1)
if {ended}: os.wait()
print("READY", 1, flush=True)
signal.pause()
"""
    )
    with Server(command, CORE) as server:
        seen = server.cpu_ns()

    assert seen >= 100_000_000 - TICK_NS


def test_cpu_time_agrees_with_the_kernel_s_other_count(program):
    """proc_pid_stat(5) cuts user and system time to whole ticks; a server at rest has the same on both clocks."""
    command = program(BURN + "burn(200_000_000)\nprint('READY', 1, flush=True)\nsignal.pause()\n")
    with Server(command, CORE) as server:
        nanoseconds, ticks = server.cpu_ns(), sum(server.stat_ns())

    assert abs(nanoseconds - ticks) <= 2 * TICK_NS


def test_resident_memory_grows_by_what_is_touched(program):
    """64 MiB written to are 64 MiB more."""
    with Server(program("import signal\nprint('READY', 1, flush=True)\nsignal.pause()\n"), CORE) as server:
        before = server.resident_bytes()
    command = program("import signal\nx = b'x' * (64 << 20)\nprint('READY', 1, flush=True)\nsignal.pause()\n")
    with Server(command, CORE) as server:
        after = server.resident_bytes()

    assert 64 == round((after - before) / MIB)


def test_a_server_that_ends_before_it_is_ready_has_failed_with_its_last_words(program):
    """The last line of its standard error says why."""
    with pytest.raises(FailedError, match=r"ended with status 3 .* ready; no such thing"):
        Server(program("import sys\nprint('no such thing', file=sys.stderr)\nsys.exit(3)\n"), CORE).__enter__()


def test_a_server_may_say_that_it_cannot_run_here(program):
    """SKIP in place of READY is no failure."""
    with pytest.raises(UnavailableError, match=r"^no engine$"):
        Server(program("print('SKIP no engine')\n"), CORE).__enter__()


def test_a_server_is_ended_with_the_block(program):
    """Also when the block raises: there is no such process then."""
    server = Server(program("import signal\nprint('READY', 7, flush=True)\nsignal.pause()\n"), CORE)
    with pytest.raises(KeyError), server:
        assert 7 == server.port
        raise KeyError

    with pytest.raises(OSError, match="Invalid argument"):
        server.cpu_ns()
