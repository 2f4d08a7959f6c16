"""A server whose connections have processes, as its user has it."""

from pathlib import Path

import pytest

from ...combinations import leave_to_combinations
from ...workers.conftest import launch, supervise  # noqa: F401  # fixtures

HERE = Path(__file__).parent
ON_EACH_RUN = ("def message", "async conversation")


# Every driver is the pure or the blocking engine's, tried in tests/conformance: one that is called and one that is a
# task are tried here, in a process of their own.
def is_one_of_many(item, params):
    """Say whether a test is left to make combinations."""
    return item.path.is_relative_to(HERE) and params.get("form", ON_EACH_RUN[0]) not in ON_EACH_RUN


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    leave_to_combinations(items, is_one_of_many)


APP = '''\
import asyncio, os, signal, socketserver, threading, time
import penstock

def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))

def reply(message):
    """Say which process answers; do what the message says."""
    match message:
        case b"crash":
            signal.raise_signal(signal.SIGSEGV)
        case b"raise":
            raise ValueError("raised")
        case b"hold":
            os.write(2, b"app-held\\n")
            time.sleep(600)
        case b"threads":
            return b"%d %d" % (threads(os.getppid()), threading.active_count())
    return b"%d %s" % (os.getpid(), message)

@penstock.on_message(codec="lines")
def who(message):
    return reply(message)

@penstock.on_message(codec="lines")
async def later(message):
    await asyncio.sleep(0)
    return reply(message)

@penstock.on_message(codec="lines")
async def patient(message):
    """Answer once there is a file called ``go``."""
    if message == b"wait":
        os.write(2, b"app-waits\\n")
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    return reply(message)

@penstock.on_connection(codec="lines")
def talk(conn):
    for message in conn:
        conn.send(reply(message))

@penstock.on_connection(codec="lines")
async def talk_later(conn):
    async for message in conn:
        await conn.send(reply(message))

@penstock.on_message(codec="lines")
def ends(conn, message):
    conn.server.begin_drain()
    return reply(message)

@penstock.on_message(codec="lines")
def ciphered(conn, message):
    """Say which process answers, and to whom; begin TLS where that is said."""
    if message == b"STARTTLS":
        conn.start_tls()
    shown = conn.tls and conn.tls.certificate
    how = "clear" if conn.tls is None else "tls"
    return f"{os.getpid()} {how} {shown.names[0] if shown else ''}".encode()

class Requests(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            said = b"%d" % self.server.server_address[1] if line == b"port\\n" else line.rstrip()
            self.wfile.write(b"%d %s\\n" % (os.getpid(), said))

async def streams(reader, writer):
    async for line in reader:
        said = b"%d" % writer.get_extra_info("sockname")[1] if line == b"port\\n" else line.rstrip()
        writer.write(b"%d %s\\n" % (os.getpid(), said))

app = penstock.App()
app.add(who, bind="tcp://127.0.0.1:0")
'''


@pytest.fixture
def directory(tmp_path):
    """A directory with a module of services, ``app.py``."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def serve(supervise):  # noqa: F811
    """A function that serves with a process for each connection; returns once it serves."""

    def start(target, *arguments, workers=None, **options):
        return supervise(target, "--model", "process", *arguments, workers=workers, **options)

    return start
