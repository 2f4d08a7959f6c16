"""What the kernel says about memory: control groups of both versions, and the process itself."""

import pytest

from penstock.config import OverloadConfig
from penstock.server.memory import memory_of, resident_bytes

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
