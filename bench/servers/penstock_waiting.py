"""Penstock's side where a handler waits before it answers: an ``async def`` message handler, on each engine."""

from __future__ import annotations

import sys
from pathlib import Path

import penstock_echo  # type: ignore[import-not-found]  # beside this file, as a script finds it

import penstock

sys.path.append(str(Path(__file__).parents[1] / "competitors"))
from waits import WAITS  # type: ignore[import-not-found]


def main() -> int:
    options = penstock_echo.parser()
    options.add_argument("--codec", default="lines")
    options.add_argument("--wait", choices=tuple(WAITS), required=True)
    chosen = options.parse_args()
    wait = WAITS[chosen.wait]

    @penstock.on_message(codec=chosen.codec)
    async def echo(message: bytes) -> bytes:
        await wait()
        return message

    penstock_echo.start(echo, engine=chosen.engine, loop=chosen.loop, port=chosen.port, limits=chosen.limits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
