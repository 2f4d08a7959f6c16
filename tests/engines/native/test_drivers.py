"""Handlers on the native engine await programs that were written for asyncio and know nothing of it."""

import asyncio
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import aiohttp
import pytest

import penstock


class Upper(BaseHTTPRequestHandler):
    """Answers each path in capitals."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path[1:].upper().encode())

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def web():
    """An HTTP server of the standard library, in a thread."""
    server = HTTPServer(("127.0.0.1", 0), Upper)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def ask(service, *messages):
    """Serve on the native engine's own loop; return the replies to the messages, sent by two clients at once."""
    async with penstock.serve(service, bind="tcp://127.0.0.1:0", engine="native") as server:

        async def client():
            async with await penstock.connect(server.addresses[0], codec="lines") as conn:
                for message in messages:
                    await conn.send(message)
                return [await conn.receive() for _ in messages]

        return await asyncio.gather(client(), client())


def run(coroutine):
    """Run it in the loop whose selector is the engine's own epoll set."""
    from penstock.engines.native.engine import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(coroutine)


def test_an_http_client(web):
    """aiohttp: connections, pooling and timers of its own."""

    async def main():
        async with aiohttp.ClientSession() as session:

            @penstock.on_message(codec="lines")
            async def fetch(message: bytes) -> bytes:
                async with session.get(f"{web}/{message.decode()}") as response:
                    return await response.read()

            return await ask(fetch, b"one", b"two", b"three")

    assert [[b"ONE", b"TWO", b"THREE"]] * 2 == run(main())


def test_a_database_in_a_thread(tmp_path):
    """SQLite through `asyncio.to_thread`, as its asyncio drivers do it."""
    path = tmp_path / "db"
    with sqlite3.connect(path) as made:
        made.execute("create table words (word text, length integer)")
    made.close()

    def insert(word):
        with sqlite3.connect(path, timeout=20) as connection:
            connection.execute("insert into words values (?, length(?))", (word, word))
            (total,) = connection.execute("select sum(length) from words where word = ?", (word,)).fetchone()
        connection.close()
        return total

    async def main():
        @penstock.on_message(codec="lines")
        async def store(message: bytes) -> bytes:
            return b"%d" % await asyncio.to_thread(insert, message.decode())

        async with penstock.serve(store, bind="tcp://127.0.0.1:0", engine="native") as server:
            async with await penstock.connect(server.addresses[0], codec="lines") as conn:
                return [await conn.request(word) for word in (b"hello", b"hello", b"you")]

    assert [b"5", b"10", b"3"] == run(main())


def test_a_process_of_its_own():
    """Standard input and output of a subprocess."""

    async def main():
        @penstock.on_message(codec="lines")
        async def reverse(message: bytes) -> bytes:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                "print(input()[::-1], end='')",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate(message)
            return output

        return await ask(reverse, b"stressed")

    assert [[b"desserts"]] * 2 == run(main())
