"""``penstock bench``: against real servers, what is counted and what the status says."""

import csv
import html.parser
import json
import os
import re
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
from penstock.testing.certificates import authority, server_certificate


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

    assert holds is parse_assertion(text).holds(measured)


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
    """A place for each plot, every tag closed, nothing fetched from elsewhere; the library's licence is in it."""
    served = serve("app:echo")
    arguments = ["--rate", "300", "--duration", "400ms", "--html", "report.html", "--assert", "errors==0"]
    done = penstock("bench", served.address, *arguments)
    text = (directory / "report.html").read_text()
    tags = Tags(text)

    assert (0, "") == (done.returncode, done.stderr)
    assert ["rate", "latency", "histogram", "percentiles"] == re.findall(r'class="plot" id="(.*?)"', text)
    assert ([], []) == (tags.open, tags.references)
    assert "Permission is hereby granted, free of charge" in text
    assert f"penstock bench {served.address} --rate 300 --duration 400ms --html report.html --assert errors==0" in text
    assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}">', text)
    assert '<li><span class="good">\N{CHECK MARK}</span> errors==0: it is 0</li>' in text


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_what_holds_is_ticked(serve, penstock, encoding):
    """And what does not is an error; where the mark cannot be written it is a word."""
    done = penstock(
        "bench",
        serve("app:echo").address,
        *("-n", "1k", "--assert", "errors==0", "--assert", "rate>1", "--assert", "rate>100G"),
        env={"PYTHONIOENCODING": encoding},
        encoding=encoding,
    )
    mark = "\N{CHECK MARK}" if encoding == "utf-8" else "ok"
    ticked = [line for line in done.stdout.splitlines() if line.startswith(f"{mark} ")]

    assert 1 == done.returncode
    assert [f"{mark} errors==0: it is 0", f"{mark} rate>1: it is "] == [ticked[0], ticked[1].rstrip("0123456789,")]
    assert done.stderr.startswith("penstock: error: assertion failed: rate>100G: it is ")
    assert "replies     1,000 in" in done.stdout


def test_programs_are_told_what_holds(serve, penstock):
    """In the JSON, where a line for people would not be any."""
    told = bench(
        penstock, serve("app:echo").address, "-n", "10", "--assert", "errors==0", "--assert", "max<0ms", status=1
    )

    assert [("errors==0", True), ("max<0ms", False)] == [(each["text"], each["holds"]) for each in told["assertions"]]


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (["--hex", "--message", "00 0a 0d"], 3),
        (["--from-file", "request"], 8),
        (["--codec", "lines", "--from-file", "request"], 8),
        (["--codec", "netstring", "--hex", "--from-file", "digits"], 5),
        (["--codec", "json-lines", "--from-file", "object"], 10),
        (["--from-file", "-"], 6),
    ],
)
def test_a_request_may_be_bytes_or_a_file(serve, penstock, directory, arguments, size):
    """As with `send`; the newline that editors put at the end of a file belongs to it with the codec raw alone."""
    (directory / "request").write_bytes(b"request\n")
    (directory / "digits").write_text("68 69\n")
    (directory / "object").write_text('{"a": [1]}\n')
    done = penstock("bench", serve("app:echo").address, "-n", "20", "--json", *arguments, data="stdin\n")
    told = json.loads(done.stdout)

    assert (20, {}) == (told["replies"], told["errors"])
    assert (size * 20, size * 20) == (told["bytes_out"], told["bytes_in"])


def test_two_runs_are_compared(serve, penstock, directory):
    """Figure by figure, by how much; a load that is another one is said to be."""
    served = serve("app:echo")
    before = bench(penstock, served.address, "-n", "100")
    (directory / "old.json").write_text(json.dumps(before))
    same = penstock("bench", served.address, "-n", "100", "--compare", "old.json")
    other = penstock("bench", served.address, "-n", "100", "-c", "3", "--compare", "old.json")
    data = bench(penstock, served.address, "-n", "100", "--compare", "old.json")
    lines = same.stdout.splitlines()
    table = lines[lines.index("compared with old.json") + 1 :]

    assert ["replies_per_s", "errors", "p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "mean", "max"] == [
        line.split()[0] for line in table
    ]
    assert "  it is not the same load: connections 50, now 3" in other.stdout
    assert [before["replies_per_s"], data["replies_per_s"]] == data["compared"]["replies_per_s"]


def test_intervals_and_percentiles_are_written_for_other_tools(serve, penstock, directory):
    """CSV has a line for each interval; HdrHistogram's table ends at 100 % with all that were counted."""
    done = penstock("bench", serve("app:echo").address, "-z", "600ms", "--csv", "a.csv", "--hgrm", "a.hgrm", "--json")
    told = json.loads(done.stdout)
    rows = list(csv.DictReader((directory / "a.csv").read_text().splitlines()))
    hgrm = (directory / "a.hgrm").read_text().splitlines()

    assert [each["replies"] for each in told["intervals"]] == [int(row["replies"]) for row in rows]
    assert [float(row["p99_s"]) for row in rows] == pytest.approx([each["p99"] for each in told["intervals"]], abs=1e-9)
    assert ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"] == hgrm[0].split()
    assert ["1.000000000000", str(told["replies"])] == hgrm[-4].split()[1:]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tcp://127.0.0.1:9", "--hex"], "--hex: it needs --message or --from-file"),
        (
            ["tcp://127.0.0.1:9", "--message", "x", "--from-file", "y"],
            "--from-file: --message and --from-file contradict",
        ),
        (["tcp://127.0.0.1:9", "--from-file", "missing"], "--from-file: cannot read missing: no such file"),
        (["tcp://127.0.0.1:9", "--compare", "missing"], "--compare: cannot read missing: no such file"),
        (
            ["tcp://127.0.0.1:9", "--compare", "app.py"],
            "--compare: app.py is no report: it is what `penstock bench --json`",
        ),
        (["tcp://127.0.0.1:9", "-n", "1.5"], "--count: '1.5' is not a whole number from 0 to"),
        (["tcp://example.org:80"], "URL: example.org is not this machine; with its owner's consent add --allow-remote"),
        (["tcp://192.0.2.1:80", "--allow-remote", "192.0.2.2"], "URL: 192.0.2.1 is not this machine"),
        (["raw+icmp://127.0.0.1"], "URL: raw+icmp://127.0.0.1: bench loads tcp://, tls://, udp:// and Unix sockets"),
        (["tcp://127.0.0.1:9", "--codec", "json-lines"], "--message: json-lines messages are JSON"),
        (["tcp://127.0.0.1:9", "--message", ""], "--message: with the codec raw an empty message is nothing"),
        (["tcp://127.0.0.1:9", "--assert", "x"], "--assert: 'x' is not a condition"),
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
            output, errors = process.communicate(timeout=40)
        finally:
            process.kill()
    told = json.loads(output)

    assert (130, "") == (process.returncode, errors)
    assert (True, {}) == (told["interrupted"], told["errors"])
    assert told["replies"] > 0


def test_over_tls_the_server_is_verified(serve, penstock, tmp_path):
    """As `penstock send` does; the compiled load says that it speaks none."""
    pytest.importorskip("trustme")
    served = serve("echo", "--codec", "lines", "--tls-cert", server_certificate(), bind="tls://127.0.0.1:0")
    asked = ["bench", served.address, "--codec", "lines", "-n", "20", "-c", "2", "--expect-echo"]
    believed = penstock(*asked, "--ca", authority().ca, "--json")
    strange = penstock(*asked)
    insecure = penstock(*asked, "--insecure", "--processes", "2")
    compiled = penstock(*asked, "--engine", "native", "--ca", authority().ca)

    assert (0, 20, {}) == (believed.returncode, *(json.loads(believed.stdout)[name] for name in ("replies", "errors")))
    assert (4, True) == (strange.returncode, "certificate is refused" in strange.stderr)
    assert (0, True) == (insecure.returncode, "errors      none" in insecure.stdout)
    assert (2, True) == (compiled.returncode, "--engine" in compiled.stderr)
