"""What the kernel says about memory: control groups of both versions, and the process itself."""

import asyncio

import pytest

from penstock.config import OverloadConfig
from penstock.core.gate import Gate
from penstock.server.memory import Memory, follow_memory, memory_of, resident_bytes

MIB = 1024**2


def test_a_number_is_held_against_what_the_process_has_resident():
    """Whatever control group it is in."""
    memory = memory_of(OverloadConfig(memory_bytes=64 * MIB))

    assert 64 * MIB == memory.limit_bytes
    assert memory.used_bytes is resident_bytes
    assert memory.used_bytes() > MIB


def test_none_is_none(tmp_path):
    """Nobody looks."""
    assert memory_of(OverloadConfig(memory_bytes=None)) is None
    assert memory_of(OverloadConfig(), groups=tmp_path, membership="0::/x\n") is None


@pytest.mark.parametrize(
    ("version", "membership"), [(2, "0::/shop/web\n"), (1, "9:name=systemd:/\n4:memory:/shop/web\n0::/\n")]
)
def test_auto_is_the_innermost_limit_of_the_control_group(tmp_path, version, membership):
    """What it uses, less the file cache that the kernel can drop."""
    limit, used, cache = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    root = tmp_path / "memory" if version == 1 else tmp_path
    own, outer = root / "shop" / "web", root / "shop"
    own.mkdir(parents=True)
    (own / limit).write_text("max\n" if version == 2 else "9223372036854771712\n")
    (outer / limit).write_text(f"{200 * MIB}\n")
    (outer / used).write_text(f"{90 * MIB}\n")
    (outer / "memory.stat").write_text(f"anon 1\n{cache} {30 * MIB}\n")
    memory = memory_of(OverloadConfig(), groups=tmp_path, membership=membership)

    assert (200 * MIB, 60 * MIB) == (memory.limit_bytes, memory.used_bytes())


def test_a_group_that_is_gone_says_nothing(tmp_path):
    """Then nobody looks any more."""
    (tmp_path / "memory.max").write_text("1048576\n")
    memory = memory_of(OverloadConfig(), groups=tmp_path, membership="0::/\n")

    assert memory.used_bytes() is None


class Relieved:
    """An engine that notes what it is asked for, and fails at first."""

    def __init__(self):
        self.asked = []

    def shed_load(self, pressure, excess_bytes):
        self.asked.append((pressure.name, excess_bytes))
        if len(self.asked) == 1:
            raise MemoryError


async def follow(readings, gate, engine, monkeypatch):
    monkeypatch.setattr("penstock.server.memory.READ_S", 0.0)
    monkeypatch.setattr("penstock.server.memory.READ_UNDER_PRESSURE_S", 0.0)
    monkeypatch.setattr("penstock.server.memory.give_back", lambda: None)
    events = []
    told = iter(readings)
    await follow_memory(Memory(1000, lambda: next(told)), gate, engine, events.append)
    return [event.pressure.name for event in events]


def test_the_ladder_goes_on_where_a_step_had_no_memory_itself(monkeypatch):
    """That is when it is needed: what a step could not do is tried again with the next reading."""
    gate, engine = Gate(), Relieved()
    steps = asyncio.run(follow([960, 960, 970, 970, 100, None], gate, engine, monkeypatch))

    assert [("SHED", 60), ("SHED", 70), ("CALM", 0), ("CALM", 0)] == engine.asked
    assert ["SHED", "CALM"] == steps


def test_a_limit_that_is_gone_keeps_nobody_out(monkeypatch):
    """With its control group: nobody would ever look whether there is memory again."""
    gate, engine = Gate(), Relieved()
    asyncio.run(follow([910, 910, None], gate, engine, monkeypatch))

    assert not gate.shedding
    assert ("CALM", 0) == engine.asked[-1]
