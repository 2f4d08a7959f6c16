"""The echo server of the bench, as `bench.instructions` drives it: it counts when it is told to.

With ``--counter LIBRARY`` (`bench/counted.c`, compiled) a byte on stdin ends a round of callgrind. With ``--memory`` a
line on stdin is answered with the bytes that Python's allocators hold and the number of connections. A handler that was
written for asyncio is the one of the bench's competitors, unchanged.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import tracemalloc
from functools import partial

import penstock_adopted  # type: ignore[import-not-found]  # beside this file, as a script finds it
import penstock_echo  # type: ignore[import-not-found]

import penstock


def _tell_memory(server: penstock.Server) -> None:
    for _ in sys.stdin:
        gc.collect()
        print(tracemalloc.get_traced_memory()[0], len(server.connections), flush=True)


def main() -> int:
    options = penstock_echo.parser()
    forms = penstock_echo.FORMS | {style: partial(penstock_adopted.adopted, style) for style in penstock_adopted.STYLES}
    options.add_argument("--handler", choices=tuple(forms), required=True)
    options.add_argument("--codec", default="lines")
    options.add_argument("--counter")
    options.add_argument("--memory", action="store_true")
    chosen = options.parse_args()

    def ready(server: penstock.Server) -> None:
        print(f"READY {server.addresses[0].rpartition(':')[2]}", flush=True)
        if chosen.memory:
            tracemalloc.start()
            threading.Thread(target=_tell_memory, args=(server,), daemon=True).start()
        else:
            threading.Thread(target=ctypes.CDLL(chosen.counter).follow, daemon=True).start()

    penstock.run(
        forms[chosen.handler](chosen.codec),
        bind=f"tcp://127.0.0.1:{chosen.port}",
        engine=chosen.engine,
        gate=penstock.GateConfig(max_connections=None, max_per_peer=None),
        # Both look at the clock from time to time, and so cost a message more on a busy machine.
        overload=penstock.OverloadConfig(memory_bytes=None, stall_s=None),
        on_ready=ready,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
