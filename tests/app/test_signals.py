"""SIGTERM at any moment of an application's life: what its lifespans opened is closed, in reverse, exactly once."""

import importlib.util
import subprocess
import sys

import pytest

from penstock.testing.peers import PATIENCE_S

from ..starter import clean_environment, finish

# It notes what it does, and sends itself the signal at the point it is told: between two steps, wherever that is.
PROGRAM = """
import asyncio, os, pathlib, signal, sys
import penstock

POINT, ENGINE, SOCKET = sys.argv[1:]
if ENGINE == "pure":
    sys.modules["uvloop"] = None

def at(point):
    print(point, flush=True)
    if point == POINT:
        os.kill(os.getpid(), signal.SIGTERM)

app = penstock.App("points")

@app.lifespan
async def first(app):
    at("first opens")
    await asyncio.sleep(0)
    print("first is open", flush=True)
    try:
        yield
    finally:
        at("first closes")
        await asyncio.sleep(0)
        print("first is closed", flush=True)

@app.lifespan
def second(app):
    at("second opens")
    print("second is open", flush=True)
    try:
        yield
    finally:
        at("second closes")
        print("second is closed", flush=True)

@app.lifespan
async def third(app):
    async def work():
        try:
            while not pathlib.Path(SOCKET).exists():
                await asyncio.sleep(0.001)
            at("task works")
            async with await penstock.connect(f"unix:{SOCKET}", codec="lines") as conn:
                await conn.send(b"go")
                async for _ in conn:
                    pass
                at("peer is gone")
                os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        except penstock.PenstockError:
            await asyncio.Event().wait()  # it was too late for a connection
        finally:
            at("task ends")

    app.task(work())
    at("third opens")
    await asyncio.sleep(0)
    print("third is open", flush=True)
    yield
    at("third closes")
    print("third is closed", flush=True)

class Asked(penstock.Handler):
    def on_message(self, conn, message):
        at("message")
        if POINT != "message":
            conn.close()

    def on_drain(self, conn):
        at("drain")

    def on_close(self, conn, reason):
        at("close")

name = "pure" if ENGINE == "uvloop" else ENGINE
app.add(penstock.as_service(Asked, name="asked"), bind=f"unix:{SOCKET}", engine=name)
sys.exit(penstock.run(app))
"""

POINTS = [
    "first opens",
    "second opens",
    "third opens",
    "task works",
    "message",
    "close",
    "peer is gone",
    "task ends",
    "third closes",
    "second closes",
    "first closes",
]
LIFESPANS = ("first", "second", "third")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("engine", ["pure", "uvloop", "native", "blocking"])
def test_what_was_opened_is_closed_exactly_once(tmp_path, popen, engine, point):
    """Those that are open by then, and no other; the process ends by itself, without a traceback."""
    if engine == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    if engine == "native" and importlib.util.find_spec("penstock.engines.native.polling.poller") is None:
        pytest.skip("nothing is compiled here")
    (tmp_path / "points.py").write_text(PROGRAM)
    command = [sys.executable, "points.py", point, engine, str(tmp_path / "s")]
    output = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    run = finish(popen(command, cwd=tmp_path, env=clean_environment(), **output), timeout=PATIENCE_S)
    steps = run.stdout.splitlines()
    opened = [name for name in LIFESPANS if f"{name} is open" in steps]

    assert point in steps
    assert [f"{name} is closed" for name in reversed(opened)] == [step for step in steps if step.endswith("is closed")]
    assert opened == [step.split()[0] for step in steps if step.endswith("is open")]
    assert "Traceback" not in run.stderr
    assert run.returncode >= 0, "it was killed by the signal"
