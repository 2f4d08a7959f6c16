"""CPython's own tests of transports and streams hold on servers and readers of Penstock."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).parent / "cpython.py"
READER = (
    "read read_eof read_exception read_limit read_line_breaks read_until_eof read_zero at_eof exception "
    "exception_cancel exception_waiter feed_empty_data feed_nonempty_data invalid_limit readexactly readexactly_eof "
    "readexactly_exception "
    "readexactly_limit readexactly_zero_or_less readline readline_empty_eof readline_eof readline_exception "
    "readline_limit readline_limit_with_existing_data readline_nolimit_nowait readline_read_byte_count readuntil_eof "
    "readuntil_limit_found_sep readuntil_multi_chunks readuntil_multi_chunks_1 readuntil_separator"
)
# Left out: those of clients, of TLS by a context of the test's own, of what a server's object says of itself, and of a
# peer that closes while a file is sent to it, which depends on how much the kernel has taken.
TESTS = [
    *(f"test_streams.StreamTests.test_{name}" for name in READER.split()),
    *(
        f"test_streams.StreamTests.test_{name}"
        for name in ("start_server", "start_unix_server", "unhandled_exceptions")
    ),
    "test_buffered_proto.BufferedProtocolSelectorTests.test_buffered_proto_create_connection",
    *(f"test_events.EPollEventLoopTests.test_create_{name}" for name in ("server", "unix_server")),
    "test_sslproto.SelectorStartTLSTests.test_start_tls_server_1",
    *(
        f"test_sendfile.EPollEventLoopTests.test_sendfile{name}"
        for name in ("", "_for_closing_transp", "_force_fallback", "_partial", "_pre_and_post_data")
    ),
]


# What newer versions of Python no longer have.
GONE = {(3, 13): ["test_streams.StreamTests.test_unhandled_exceptions"]}
PATIENCE_S = 300  # beside whatever else the machine does; it takes a few seconds


def absent():
    """Return the tests that this version does not have."""
    return [name for version, names in GONE.items() if sys.version_info >= version for name in names]


@pytest.mark.skipif(importlib.util.find_spec("test.test_asyncio") is None, reason="this interpreter has no tests")
@pytest.mark.skipif(sys.platform != "linux", reason="the tests' loop is that of epoll")
@pytest.mark.engines("pure", "native")
@pytest.mark.uncipherable("the clients are CPython's")
def test_the_interpreters_own_tests_pass(engine, figure, tmp_path):
    """In a process of their own, for they replace what asyncio makes loops and readers of."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", RUNNER, engine.name, *TESTS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    found = json.loads(done.stdout or "{}")
    figure(f"tests of CPython's asyncio on servers of the {engine.name} engine: {len(found)} run of {len(TESTS)}")

    assert {} == {name: what for name, what in found.items() if what != "ok" and not what.startswith("skipped")}
    assert {*TESTS} - {*absent()} == {*found}, done.stderr
