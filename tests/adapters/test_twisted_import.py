"""Twisted's reactor is the server's in whatever order things are imported."""

import subprocess
import sys

import pytest

pytest.importorskip("twisted")

SERVED = """
from twisted.internet import endpoints, protocol, reactor

class Time(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"now")
        self.transport.loseConnection()

factory = protocol.Factory.forProtocol(Time)
called = []
reactor.callLater(0, called.append, 1)
if __name__ == "__main__":
    endpoints.serverFromString(reactor, "tcp:8000").listen(factory)
    reactor.run()
"""


def run(code, directory):
    (directory / "served.py").write_text(SERVED)
    return subprocess.run([sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, timeout=30)


def test_a_module_that_imports_the_reactor_finds_the_servers(tmp_path):
    """While `penstock serve` imports it, in one process; what it had called before the loop ran is called then."""
    done = run(
        """
import asyncio, pathlib, socket
import penstock
from penstock.cli.target import load_target

service = load_target("served:factory", pathlib.Path())

async def main():
    async with penstock.serve(service, port=0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.addresses[0].rpartition(":")[2]))
        print((await reader.read()).decode())
        writer.close()
    import served
    print(type(served.reactor).__name__, served.called)

asyncio.run(main())
""",
        tmp_path,
    )

    assert ("now\nServersReactor [1]\n", "") == (done.stdout, done.stderr)


def test_a_reactor_with_a_loop_of_its_own_is_refused(tmp_path):
    """With what to do about it."""
    done = run("import penstock, served; penstock.serve(served.factory)", tmp_path)

    assert "call penstock.adapters.install_reactor() before anything imports twisted" in done.stderr.splitlines()[-1]


def test_a_reactor_on_a_loop_that_is_not_the_servers_is_refused(tmp_path):
    """Its timers would never fire. On the loop that runs it is as good as the server's own."""
    code = """
import asyncio
from twisted.internet import asyncioreactor
loop = asyncio.new_event_loop()
asyncioreactor.install(loop)
import penstock, served

async def main():
    print(penstock.serve(served.factory).service.name)

loop.run_until_complete(main())
penstock.serve(served.factory)
"""
    done = run(code, tmp_path)

    assert "Time\n" == done.stdout
    assert "AsyncioSelectorReactor, which has a loop of its own" in done.stderr.splitlines()[-1]


def test_what_runs_the_reactor_while_it_is_imported_is_refused(tmp_path):
    """The server runs the loop."""
    done = run(
        "import penstock.adapters as a; a.install_reactor(); from twisted.internet import reactor; reactor.run()",
        tmp_path,
    )

    assert "penstock runs the loop: leave reactor.run() to" in done.stderr.splitlines()[-1]
