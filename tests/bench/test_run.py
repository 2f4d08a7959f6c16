"""The whole bench at tiny size: bytes and facts. No time is asserted, nor could it be."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import machine, report, scenarios

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 50
# One of each sort: the limit, the yardstick, ourselves, and the outside program where it is installed.
TAKING_PART = ("c-epoll*", "asyncio-protocol", "penstock-pure", "penstock-pure-connection", "redis", "kv-pure",
               "penstock-pure-limits-*", "client-socket", "client-asyncio*", "penstock-pure-done", "penstock-pure-turn",
               "penstock-pure-executor", "asyncio-tasks-*")  # fmt: skip


def bench(*arguments):
    """Run ``python -m bench.run`` and return how it ended."""
    argv = [sys.executable, "-m", "bench.run", *map(str, arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)


def frame_bytes(scenario):
    """Return the bytes of one reply."""
    around = {"lines": 1, "raw": 0, "length-prefixed": 4, "resp": len(f"${scenario['size']}\r\n\r\n")}
    return scenario["size"] + around[scenario["framing"]]


@pytest.mark.full
@pytest.mark.usefixtures("load_program")
@pytest.mark.parametrize("name", scenarios.BY_NAME)
def test_a_scenario_runs_from_end_to_end(name, tmp_path):
    """Every contestant that can run is measured in every round; every byte is accounted for; a report is written."""
    if name.startswith("redis-benchmark") and shutil.which("redis-benchmark") is None:
        pytest.skip("redis-benchmark is not installed")
    chosen = [option for key in TAKING_PART for option in ("--contestant", key)]
    done = bench("--quick", "--rounds", 2, "--only", name, "--results", tmp_path, *chosen)

    assert 0 == done.returncode, done.stderr
    saved = json.loads(next(tmp_path.glob(f"*-{name}.json")).read_text())
    assert {} == saved["failed"]
    measured = {record["contestant"] for record in saved["records"]}
    assert measured | saved["skipped"].keys() == {
        key for key in scenarios.BY_NAME[name].contestants if any(Path(key).match(taking) for taking in TAKING_PART)
    }
    assert measured
    assert 2 * len(measured) == len(saved["records"])
    for record in saved["records"]:
        check_facts(saved["scenario"], record)
    text = (tmp_path / "latest.md").read_text()
    assert scenarios.BY_NAME[name].title in text
    for table in text.split("\n\n"):
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) <= 1, table
    assert (tmp_path / f"{name}.svg").exists()


def check_facts(scenario, record):
    """Assert what holds for one record whatever the machine does."""
    kind = scenario["kind"]
    if kind == "client" or scenario["pairs"]:
        assert record["messages"] > 0
        assert 0 < record["load_cpu_share"]
    elif kind == "idle":
        assert ["5", "100"] == list(record["resident_bytes"])
    elif kind == "redis-benchmark":
        assert 2 * scenario["requests"] == record["messages"]
        assert ["SET", "GET"] == [row["test"] for row in record["redis_benchmark"]]
    else:
        assert record["messages"] > 0
        assert record["messages"] == record["latency_ns"]["count"]
        frame = 0 if kind == "accept" else frame_bytes(scenario)
        assert record["bytes"] == frame * (record["messages"] + record["firehose_messages"])
        assert record["server_cpu_ns"] > 0
        assert (kind == "fairness") == (record["firehose_messages"] > 0)


def test_the_list_shows_every_scenario():
    """Nothing is measured."""
    done = bench("--list")

    assert 0 == done.returncode
    assert list(scenarios.BY_NAME) == [line.partition(":")[0] for line in done.stdout.splitlines() if line[0] != " "]


@pytest.mark.usefixtures("load_program")
def test_a_run_without_time_left_makes_one_round_of_everything(tmp_path):
    """No row is missing from a run that was cut short; taken up again, it makes the rounds that are left."""
    arguments = ["--quick", "--rounds", 2, "--only", "raw-*", "--contestant", "c-epoll-raw", "--results", tmp_path]
    first = bench(*arguments, "--minutes", 0.00001)
    rounds = [json.loads(path.read_text())["rounds"] for path in sorted(tmp_path.glob("*.json"))]
    second = bench(*arguments, "--resume")
    records = [json.loads(path.read_text())["records"] for path in sorted(tmp_path.glob("*.json"))]

    assert (0, 0) == (first.returncode, second.returncode), first.stderr + second.stderr
    assert [1, 1] == rounds
    assert [[0, 1], [0, 1]] == [[record["round"] for record in each] for each in records]


@pytest.mark.parametrize(
    "arguments", [["--only", "nothing-like-it"], ["--rounds", "0"], ["--seconds", "-1"], ["--minutes", "0"]]
)
def test_a_wrong_option_is_refused(arguments):
    """Status 2, and nothing is measured."""
    assert 2 == bench(*arguments).returncode


def test_the_report_is_made_of_the_newest_raw_data(tmp_path):
    """By date; each scenario on its own, so that one can be measured again alone."""
    facts = machine.facts(machine.Cores(server=1, load=0), 20_000) | {"competitors": "Python 3.11"}
    for date, name, value in [
        ("2026-01-01", "raw-1k", 7),
        ("2026-02-01", "raw-1k", 8),
        ("2026-01-01", "raw-64k", 9),
    ]:
        record = {"contestant": "c-epoll-raw", "round": 0, "value": value}
        saved = {"records": [record], "skipped": {"go": "go is not installed"}, "failed": {}, "machine": facts}
        path = tmp_path / f"{date}-{name}.json"
        path.write_text(json.dumps({**saved, "date": date, "rounds": 1}))
    text = report.write(tmp_path).read_text()

    assert "`raw-1k`, 2026-02-01; rounds: 1." in text
    assert "| C epoll, no framing | 8.00 (8.00 to 8.00) | 1 |" in text
    assert "| C epoll, no framing | 9.00 (9.00 to 9.00) | 1 |" in text
    assert "- Not measured: Go net, GOMAXPROCS=1: go is not installed." in text
    assert "7.00" not in text
