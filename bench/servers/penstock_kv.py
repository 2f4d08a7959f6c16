"""examples/kv.py, served as every server of the bench is. Prints ``READY <port>`` or ``SKIP <reason>``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from penstock_echo import parser, start  # type: ignore[import-not-found]  # beside this file, as a script finds it

EXAMPLE = Path(__file__).parents[2] / "examples/kv.py"


def main() -> int:
    chosen = parser().parse_args()
    spec = importlib.util.spec_from_file_location("kv", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    start(module.kv, engine=chosen.engine, loop=chosen.loop, port=chosen.port, limits=chosen.limits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
