"""Runs CPython's own tests of asyncio, where this interpreter has them, on servers and readers of Penstock.

``python cpython.py ENGINE NAME…``: names of tests, or of classes of them, below ``test.test_asyncio``. The servers that
such a test makes are Penstock's, and so are its readers. Prints what came of each as JSON: ok, skipped, failed.
"""

import asyncio
import functools
import io
import json
import os
import sys
import unittest

import penstock
from penstock.adapters import service_of
from penstock.adapters.streams import ConnectionReader
from penstock.errors import EndOfStreamError


class Servers:
    """What `asyncio.Server` is to those who made one."""

    def __init__(self, server, loop):
        self._server = server
        self._loop = loop
        self.sockets = [listener.sock for listener in server._listeners]

    def is_serving(self):
        return bool(self.sockets)

    def get_loop(self):
        return self._loop

    async def start_serving(self):
        """It does."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_exc_info):
        self.close()
        await self.wait_closed()

    def close(self):
        self.sockets = []
        self._server.begin_drain(timeout_s=1.0)

    async def wait_closed(self):
        await self._server.drain()


class Loop(asyncio.SelectorEventLoop):
    """A loop whose servers are Penstock's. Any selector that a test wants is the engine's own."""

    engine = "pure"

    def __init__(self, _selector=None):
        if self.engine == "native":
            from penstock.engines.native.polling.selector import NativeSelector

            super().__init__(NativeSelector())
        else:
            super().__init__()

    async def create_server(self, factory, host=None, port=None, *, sock=None, ssl=None, **_options):
        return await self._serve(factory, f"tcp://{host}:{port}", sock, ssl)

    async def create_unix_server(self, factory, path=None, *, sock=None, ssl=None, **_options):
        return await self._serve(factory, f"unix:{path}", sock, ssl)

    async def _serve(self, factory, bind, sock, ssl):
        if ssl is not None:
            raise unittest.SkipTest("TLS from the start is the server's own, and so are its certificates")
        if sock is not None:
            bind = f"fd://{os.dup(sock.fileno())}"
        service = service_of(functools.partial(factory), kind="protocol", name="under test")
        server = penstock.serve(service, bind=bind, engine=self.engine, timeout_linger=0.0)
        await server.start()
        return Servers(server, self)


class Fed:
    """A connection that receives what a test feeds its reader while that waits."""

    close_reason = None

    def __init__(self, loop):
        self._loop = loop
        self._data, self._end = [], None
        self._waiter = None

    @property
    def is_asked(self):
        return self._waiter is not None

    def gives(self, *data, end=None):
        """Have what waits receive this, or this end."""
        self._data += data
        self._end = end or self._end
        if not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self):
        if not (self._data or self._end):
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data, self._data = b"".join(self._data), []
        if not data:
            raise self._end
        return data


class Reader(ConnectionReader):
    """The reader of a callback, which a test feeds instead of a connection."""

    def __init__(self, limit=2**16, loop=None):
        if limit <= 0:
            raise ValueError("Limit cannot be <= 0")
        loop = loop or asyncio.get_event_loop()
        super().__init__(Fed(loop), loop)
        self._limit = limit

    def feed_data(self, data):
        if data and self._conn.is_asked:
            self._conn.gives(data)
        else:
            super().feed_data(data)

    def feed_eof(self):
        if self._conn.is_asked:
            self._conn.gives(end=EndOfStreamError())
        else:
            super().feed_eof()

    def set_exception(self, exc):
        super().set_exception(exc)
        if self._conn.is_asked:
            self._conn.gives(end=exc)


class Results(unittest.TestResult):
    """What came of each test, by name."""

    def __init__(self):
        super().__init__()
        self.found = {}

    def stopTest(self, test):
        name = test.id().removeprefix("test.test_asyncio.")
        self.found.setdefault(name, "ok")

    def _note(self, test, what):
        self.found[test.id().removeprefix("test.test_asyncio.")] = what

    def addSkip(self, test, reason):
        self._note(test, f"skipped: {reason}")

    def addError(self, test, err):
        self._note(test, f"failed: {err[1]!r}")

    def addFailure(self, test, err):
        self.addError(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.addError(test, err)


def main(engine, names):
    """Run them; what they print goes nowhere."""
    Loop.engine = engine
    asyncio.SelectorEventLoop = asyncio.new_event_loop = Loop
    found = {}
    out, sys.stdout, sys.stderr = sys.stdout, io.StringIO(), io.StringIO()
    own = asyncio.StreamReader
    for name in names:
        # What a server's callback is given is a reader of asyncio itself where the test says `start_server`.
        asyncio.StreamReader = own if "start_" in name or not name.startswith("test_streams") else Reader
        suite = unittest.defaultTestLoader.loadTestsFromName(f"test.test_asyncio.{name}")
        if any(isinstance(test, unittest.loader._FailedTest) for test in suite):
            continue  # this interpreter has none of that name
        results = Results()  # of its own: what a class sets up is torn down with each
        suite.run(results)
        found |= results.found
    print(json.dumps(found), file=out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
