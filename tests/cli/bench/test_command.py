"""``penstock bench``: against real servers, what is counted and what the status says."""

import html.parser
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from penstock import __version__
from penstock.cli.bench.assertions import parse_assertion
from penstock.errors import ConfigurationError
from penstock.load.measured import Measured


def bench(penstock, *arguments, status=0):
    """Run it and return what its JSON says."""
    done = penstock("bench", *arguments, "--json")

    assert status == done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "unix:s"])
@pytest.mark.parametrize(
    ("service", "codec", "more"),
    [
        ("app:echo", "raw", ["--depth", "3"]),
        ("echo", "lines", ["--depth", "7"]),
        ("echo", "length-prefixed", ["--size", "100kB"]),
        ("echo", "json-lines", ["--message", '{"a": [1]}']),
    ],
)
def test_every_request_has_its_reply(serve, penstock, bind, service, codec, more):
    """As many as were asked for, each compared with what was sent."""
    own = [] if codec == "raw" else ["--codec", codec]
    served = serve(service, *own, bind=bind)
    told = bench(penstock, served.address, "--codec", codec, "-n", "200", "-c", "3", "--expect-echo", *more)

    assert (200, {}) == (told["replies"], told["errors"])
    assert 0 < told["latency"]["p50"] <= told["latency"]["p99"] <= told["latency"]["max"]
    assert (told["bytes_out"], 0) == (told["bytes_in"], told["bytes_out"] % 200)


def test_it_ends_with_the_time(serve, penstock):
    """And what happened is told interval by interval."""
    served = serve("app:echo")
    told = bench(penstock, served.address, "--duration", "500ms", "-c", "2")

    assert {} == told["errors"]
    assert told["replies"] >= sum(each["replies"] for each in told["intervals"]) > 0


def test_at_a_rate_as_many_are_sent_as_are_due(serve, penstock):
    """However fast the server is, and latency counts from when they were due."""
    served = serve("app:shout")
    told = bench(penstock, served.address, "--codec", "lines", "--rate", "500", "-n", "100", "-c", "4")

    assert (100, {}, "due") == (told["replies"], told["errors"], told["latency_from"])
    assert told["latency"]["max"] >= told["latency_from_sent"]["max"]


def test_a_stall_is_seen_by_all_requests_that_fall_into_it(penstock, peer):
    """No coordinated omission: one request was on its way during the stall, but many were due."""
    stalled = threading.Event()

    def handle(conn):
        while data := conn.recv(4096):
            if not stalled.is_set():
                stalled.set()
                threading.Event().wait(0.5)
            conn.sendall(data)

    told = bench(penstock, peer(handle), "--rate", "200", "-n", "120", "-c", "1")

    assert (120, {}) == (told["replies"], told["errors"])
    assert told["latency"]["p50"] > 10 * told["latency_from_sent"]["p50"]


def test_errors_are_counted_by_kind(penstock, peer):
    """A server that leaves, one that says something else, and one that says nothing."""

    def leave(conn):
        conn.recv(4096)

    def other(conn):
        while conn.recv(4096):
            conn.sendall(b"no\n")

    def mute(conn):
        while conn.recv(4096):
            pass

    load = ["--codec", "lines", "-c", "1", "--timeout", "300ms"]
    left = bench(penstock, peer(leave), *load, "-n", "2", status=1)
    wrong = bench(penstock, peer(other), *load, "-n", "5", "--expect-echo")
    unasked = bench(penstock, peer(other), *load, "-n", "5")
    silent = bench(penstock, peer(mute), *load, "--duration", "100ms", status=1)

    assert {"closed by the peer": 2} == left["errors"]
    assert {"reply is not what was sent": 5} == wrong["errors"]
    assert {} == unasked["errors"]
    assert 0 == silent["replies"]
    assert 1 == sum(silent["errors"].values())


def test_the_framing_of_another_protocol_is_an_error(serve, penstock):
    """And no reply at all is status 1."""
    told = bench(
        penstock, serve("app:shout").address, "--codec", "json-lines", "--message", "true", "-n", "1", status=1
    )

    assert 1 == sum(told["errors"].values())
    assert next(iter(told["errors"])).startswith("protocol: ")


def test_errors_come_first_for_people(serve, penstock):
    """Below what was run."""
    served = serve("app:echo")
    lines = penstock("bench", served.address, "-n", "10", "-c", "2").stdout.splitlines()

    assert f"{served.address} over raw: 2 connections, depth 1, closed loop, 10 requests" == lines[0]
    assert lines[1].startswith(f"penstock {__version__}, ")
    assert ["", "errors      none"] == lines[2:4]
    assert lines[4].startswith("replies     10 in ")
    assert ["p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "mean", "max"] == [
        line.split()[0] for line in lines[9:18]
    ]


def test_what_is_asserted_decides_the_status(serve, penstock):
    """Each that does not hold is told."""
    served = serve("app:echo")
    run = ["bench", served.address, "-n", "10", "-c", "1"]
    good = penstock(*run, "--assert", "p99<1h", "--assert", "errors==0")
    bad = penstock(*run, "--assert", "max < 1ms", "--assert", "rate>900000000", "--assert", "mean<=1h")

    assert (0, "") == (good.returncode, good.stderr)
    assert 1 == bad.returncode
    assert bad.stderr.splitlines()[-1].startswith("penstock: error: assertion failed: rate>900000000: it is ")


@pytest.mark.parametrize("text", ["", "p98<1ms", "p99<1", "p99=1ms", "errors<1ms", "p99<none", "errors<1.1.1"])
def test_what_is_no_condition_is_refused(text):
    """With what there is."""
    with pytest.raises(ConfigurationError, match="--assert"):
        parse_assertion(text)


@pytest.mark.parametrize(
    ("text", "holds"),
    [("p50<2ms", True), ("p50<1ms", False), ("max>=1ms", True), ("errors==1", True), ("rate>1", True)],
)
def test_conditions_compare_what_was_measured(text, holds):
    """Latencies as durations, all else as numbers."""
    measured = Measured(seconds=1.0)
    for milliseconds in (1.5, 1.5, 1.5, 9.0):
        measured.latency.record(milliseconds / 1000)
    measured.errors["reset"] += 1

    assert holds == (parse_assertion(text).failure(measured) is None)


class Tags(html.parser.HTMLParser):
    """Collects the tags of a page, and what it refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.references = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.references += [value for name, value in attrs if name in {"src", "href"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert tag == self.open.pop()


def test_the_page_is_one_file(serve, penstock, directory):
    """Two plots, every tag closed, nothing fetched from elsewhere."""
    served = serve("app:echo")
    done = penstock("bench", served.address, "--rate", "300", "--duration", "400ms", "--html", "report.html")
    tags = Tags((directory / "report.html").read_text())

    assert (0, "") == (done.returncode, done.stderr)
    assert (2, 3) == (tags.seen.count("svg"), tags.seen.count("polyline"))
    assert ([], []) == (tags.open, tags.references)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tcp://example.org:80"], "URL: example.org is not this machine; with its owner's consent add --allow-remote"),
        (["tcp://192.0.2.1:80", "--allow-remote", "192.0.2.2"], "URL: 192.0.2.1 is not this machine"),
        (["raw+icmp://127.0.0.1"], "URL: raw+icmp://127.0.0.1: bench loads tcp://, udp:// and Unix sockets"),
        (["tcp://127.0.0.1:9", "--codec", "json-lines"], "--message: json-lines messages are written as JSON"),
        (["tcp://127.0.0.1:9", "--message", ""], "--message: with the codec raw an empty message is nothing"),
        (["tcp://127.0.0.1:9", "--assert", "x"], "--assert: 'x' is no condition"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(penstock, arguments, told):
    """A load tool is not pointed at others by accident."""
    done = penstock("bench", *arguments)

    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"penstock: error: {told}")


def test_a_server_that_is_not_there_is_status_1(penstock):
    """As with every client."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = penstock("bench", f"tcp://127.0.0.1:{free.getsockname()[1]}")

    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.endswith(": connection refused\n")


@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize("processes", [1, 2])
def test_an_interruption_is_130_after_the_report(engine, peer, environ, directory, processes, group):
    """Whether it comes from a terminal, to all processes, or to the one that the user started."""
    served = threading.Semaphore(0)

    def handle(conn):
        while data := conn.recv(4096):
            conn.sendall(data)
            served.release()

    command = ["bench", peer(handle), "-z", "60s", "-c", "2", "--processes", str(processes), "--engine", engine]
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", *command, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        cwd=directory,
        start_new_session=True,
    )
    with process:
        for _ in range(500):
            assert served.acquire(timeout=20)
        (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
        try:
            output, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    told = json.loads(output)

    assert (130, "") == (process.returncode, errors)
    assert (True, {}) == (told["interrupted"], told["errors"])
    assert told["replies"] > 0
