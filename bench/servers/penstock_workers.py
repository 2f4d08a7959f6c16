"""Penstock's side of `bench.workers`: services for ``penstock serve``, with a supervisor and without.

With ``BENCH_COUNTER`` (`bench/counted.c`, compiled) a byte on the standard input ends a round of callgrind.
"""

from __future__ import annotations

import ctypes
import os
import threading

import penstock

if counter := os.environ.get("BENCH_COUNTER"):
    threading.Thread(target=ctypes.CDLL(counter).follow, daemon=True).start()


@penstock.on_message(codec="lines")
def echo(message: bytes) -> bytes:
    """Return what came."""
    return message


@penstock.on_message(codec="lines")
def who(_message: bytes) -> bytes:
    """Say which process answers."""
    return b"%d" % os.getpid()
