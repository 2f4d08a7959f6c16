"""Penstock's side where a handler was written for asyncio: the competitors' own Protocol and callback, unchanged."""

from __future__ import annotations

import sys
from pathlib import Path

import penstock_echo  # type: ignore[import-not-found]  # beside this file, as a script finds it

from penstock.adapters import service_of

sys.path.append(str(Path(__file__).parents[1] / "competitors"))
from asyncio_protocol import PROTOCOLS  # type: ignore[import-not-found]
from asyncio_streams import HANDLERS  # type: ignore[import-not-found]

STYLES = {"protocol": PROTOCOLS, "streams": HANDLERS}


def adopted(style: str, codec: str) -> penstock_echo.Service:
    """Return the service that a handler of asyncio's is made into."""
    return service_of(STYLES[style][codec], kind=style)


def main() -> int:
    options = penstock_echo.parser()
    options.add_argument("--codec", default="lines", help="what the handler cuts by itself")
    options.add_argument("--style", choices=tuple(STYLES), required=True)
    chosen = options.parse_args()
    service = adopted(chosen.style, chosen.codec)
    penstock_echo.start(service, engine=chosen.engine, loop=chosen.loop, port=chosen.port, limits=chosen.limits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
