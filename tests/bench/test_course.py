"""One scenario through its rounds: who misbehaves is left out, the others are measured."""

import sys

import pytest

from bench import machine, scenarios
from bench.contestants import BY_KEY, Contestant, Interpreters
from bench.course import Course

CORE = machine.choose_cores().server
WORK = scenarios.BY_NAME["line-echo-1"].tiny()
MACHINE = {"cpu": "any"}

LIAR = """
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print("READY", listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.sendall(connection.recv(100).upper() + b"!")
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Let somebody else take part: a Python program."""

    def add(key, source):
        path = tmp_path / f"{key}.py"
        path.write_text(source)
        monkeypatch.setitem(BY_KEY, key, Contestant(key, key, lambda *_: [sys.executable, str(path)]))
        return key

    return add


@pytest.mark.usefixtures("load_program")
def test_who_sends_a_wrong_byte_has_a_reason_in_place_of_a_figure(program):
    """It is not asked again, and the others are measured in every round."""
    course = Course(WORK, [program("liar", LIAR), "asyncio-protocol"])
    for _ in range(2):
        course.run_round(Interpreters(), CORE)

    assert {"liar"} == course.failed.keys()
    assert course.failed["liar"].startswith("wrong-byte")
    assert [("asyncio-protocol", 0), ("asyncio-protocol", 1)] == [
        (record["contestant"], record["round"]) for record in course.records
    ]


@pytest.mark.usefixtures("load_program")
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise SystemExit('no such thing')", "no such thing"),
        ("print('READY 1', flush=True)", "connect"),
        ("1 / 0", ""),
    ],
)
def test_whoever_dies_is_left_out(program, source, reason):
    """Before it is ready, or after."""
    course = Course(WORK, [program("dead", source)])
    course.run_round(Interpreters(), CORE)

    assert reason in course.failed["dead"]
    assert [] == course.records


def test_who_cannot_run_here_is_skipped(program):
    """It says so itself, or lacks what it needs."""
    course = Course(WORK, [program("absent", "print('SKIP it is not built', flush=True)")])
    course.run_round(Interpreters(), CORE)

    assert {"absent": "it is not built"} == course.skipped
    assert {} == course.failed


@pytest.mark.usefixtures("load_program")
def test_a_pair_without_one_is_no_pair(program, monkeypatch):
    """Nothing can be said about the other alone."""
    monkeypatch.setitem(BY_KEY, "penstock-pure-limits-off", BY_KEY[program("liar", LIAR)])
    work = scenarios.BY_NAME["limits-connect"].tiny()
    course = Course(work, ["penstock-pure-limits-on", "penstock-pure-limits-off"])
    course.run_round(Interpreters(), CORE)

    assert {"penstock-pure-limits-on", "penstock-pure-limits-off"} == course.failed.keys()
    assert [] == course.records


def test_what_was_seen_is_taken_up_again(tmp_path):
    """On the same day and of the same work; who was left out is asked again."""
    record = {"contestant": "go", "round": 0, "value": 1.0}
    Course(WORK, ["go"], rounds=1, records=[record], failed={"tokio": "away"}).save(tmp_path, "2026-01-01", MACHINE)
    same, later, other = Course(WORK, ["go"]), Course(WORK, ["go"]), Course(scenarios.BY_NAME["line-echo-1"], ["go"])
    same.resume(tmp_path, "2026-01-01")
    later.resume(tmp_path, "2026-01-02")
    other.resume(tmp_path, "2026-01-01")

    assert (1, [record], {}) == (same.rounds, same.records, same.failed)
    assert (0, 0) == (later.rounds, other.rounds)
