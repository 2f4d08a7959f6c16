"""What all tests share: every implementation of the codecs, and a place for the figures that tests measure."""

import contextlib
import fcntl
import gc
import os
import random
import signal
import socket
import subprocess
import termios

import pytest
from hypothesis import settings

import penstock.codecs
from penstock.codecs import NEED_DATA
from penstock.errors import RemoteProtocolError

from .starter import Started, Starter

try:
    from penstock.engines.native.framing import choice as framing
except ImportError:
    framing = None

# Assertions of the fixtures are explained as those of a test are. Nothing has imported them yet.
pytest.register_assert_rewrite("penstock.testing")

# Machines that run tests are shared: how long one example takes says nothing.
settings.register_profile("penstock", deadline=None, print_blob=True)
settings.load_profile("penstock")


def pytest_configure(config):
    """Have children start as from a terminal, whoever started the tests.

    A script's background job, nohup and many runners ignore SIGINT, SIGQUIT or SIGHUP, or block them, and what is
    ignored or blocked here is so in every child. A handler is not inherited: with Python's own a child begins with the
    default.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    config.addinivalue_line("markers", "from_nothing: the program begins as it does for a user, and imports itself")


def pytest_collection_finish():
    """Leave thirteen thousand collected tests out of what is looked through whenever a test asks what it has left."""
    gc.collect()
    gc.freeze()


FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session", params=["python", "compiled"])
def codecs(request):
    """A place with every codec under its own name: as they are, or cut and written by their compiled framings."""
    if request.param == "compiled":
        if framing is None:
            pytest.skip("the native engine is not built")
        return CompiledCodecs()
    return penstock.codecs


class CompiledCodecs:
    """Every built-in codec, each a subclass that leaves the stream to its compiled framing."""

    def __getattr__(self, name):
        codec = type(name, (ByFraming, getattr(penstock.codecs, name)), {"of": getattr(penstock.codecs, name)})
        setattr(self, name, codec)
        return codec


class ByFraming:
    """What a connection of the native engine does with a codec, behind the methods of a codec.

    Between two calls about one frame a cutter stands in ``buffer.resume``: what came since then is all that it is fed.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.own = self.of(*args, **kwargs)

    def decode(self, buffer):
        if not self.own._compiled:  # such a connection has the codec itself
            return self.own.decode(buffer)
        cutter = buffer.resume or framing.Cutter(self.own)
        cutter.feed(buffer[cutter.held :])
        message = cutter.cut()
        cutter.settle()
        del buffer[: len(buffer) - cutter.held]
        buffer.resume = cutter if message is NEED_DATA and buffer else None
        return message

    def decode_many(self, data, limit):
        if not self.own._compiled:
            return self.own.decode_many(data, limit)
        cutter = framing.Cutter(self.own)
        cutter.feed(data)
        messages = []
        taken = 0
        while len(messages) < limit:
            try:
                message = cutter.cut()
            except RemoteProtocolError:
                if not messages:
                    raise
                break
            if message is NEED_DATA:
                break
            messages.append(message)
            taken = len(data) - cutter.held
        return messages, taken

    def encode(self, message):
        written = framing.put(self.own, message) if self.own._compiled else None
        return self.own.encode(message) if written is None else written

    def encode_many(self, messages):
        return b"".join(map(self.encode, messages))

    def decode_datagram(self, data):
        return self.own.decode_datagram(data)

    def encode_datagram(self, message):
        return self.own.encode_datagram(message)

    def finish(self, buffer):
        return self.own.finish(buffer)


@contextlib.contextmanager
def reserving():
    """Yield a function that gives a port that is free, and nobody else's until the block ends.

    It is none of those that the system chooses from, and other tests find its name taken in the abstract namespace.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        lowest = int(file.read().split()[0])
    ports = range(10_000, lowest) if lowest > 20_000 else range(61_000, 65_536)
    with contextlib.ExitStack() as held:

        def take():
            for port in random.SystemRandom().sample(ports, 1000):
                with contextlib.suppress(OSError), contextlib.ExitStack() as trial:
                    name = trial.enter_context(socket.socket(socket.AF_UNIX))
                    name.bind(f"\0penstock-tests-port-{port}")
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        with socket.socket(socket.AF_INET, kind) as sock:
                            sock.bind(("", port))
                    held.push(trial.pop_all())
                    return port
            pytest.fail("no port is free")

        yield take


@pytest.fixture
def reserve():
    """A function that gives a port that is nobody else's until the test ends: see `reserving`."""
    with reserving() as take:
        yield take


@pytest.fixture(scope="module")
def reserve_for_module():
    """As `reserve`, until the module's tests have run."""
    with reserving() as take:
        yield take


@pytest.fixture(scope="session")
def figure(request):
    """A function that adds a line to the figures printed at the end of the run."""
    return request.config.stash.setdefault(FIGURES, []).append


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take over the figures of a process that ran a part of the tests (pytest-xdist)."""
    node.config.stash.setdefault(FIGURES, []).extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_sessionfinish(session):
    """Hand this process's figures to the one that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = session.config.stash.get(FIGURES, [])


def pytest_terminal_summary(terminalreporter, config):
    """Print the figures."""
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("figures")
        for line in sorted(set(lines)):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def starter():
    """What the processes of a session are forked from."""
    with contextlib.closing(Starter()) as starter:
        yield starter


@pytest.fixture
def popen(request):
    """`subprocess.Popen` for the program, and for scripts: without importing it again, where that is not the test's."""

    def start(command, *, env=None, under=(), preexec_fn=None, pass_fds=(), controls=False, **options):
        words = tuple(map(str, command))
        environ = os.environ if env is None else env
        alone = not (under or preexec_fn or pass_fds)
        if alone and Starter.fits(words, environ) and request.node.get_closest_marker("from_nothing") is None:
            # There the leader of a session controls its terminal.
            return Started(request.getfixturevalue("starter"), words, env=env, **options)
        if controls:
            preexec_fn = lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # noqa: E731
        options.update(env=env, preexec_fn=preexec_fn, pass_fds=pass_fds)
        return subprocess.Popen([*under, *words], **options)

    return start
