"""``penstock serve`` as its user sees it: what it says, what it warns of, how it logs, how it ends."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tomllib

import pytest

EPHEMERAL = re.compile(r"127\.0\.0\.1:\d+")


def exchange(address, data):
    """Send data to a TCP address and return the first bytes that come back."""
    host, _, port = address.partition("//")[2].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as conn:
        conn.sendall(data)
        return conn.recv(65536)


def wait_for(served, text):
    """Wait until the log of a server holds ``text``, and return the log."""
    while text not in (log := served.log()):
        assert served.process.poll() is None, log
    return log


# -- what it says -----------------------------------------------------------------------------------------------------


def test_the_banner_says_where_what_how_and_what_to_try(serve):
    """Addresses with the ports the system chose, codec, engine and why, a line to try."""
    served = serve("app:shout", "--bind", "unix:s")
    log = wait_for(served, "quit)\n")
    lines = log.splitlines()
    address = next(address for address in served.addresses if address.startswith("tcp"))

    assert {f"penstock serves shout on {served.addresses[0]}", " " * 25 + served.addresses[1]} == set(lines[:2])
    assert "  codec   lines" == lines[2]
    assert re.fullmatch(r"  engine  (pure on (uvloop|asyncio, uvloop not being installed)|native): .+", lines[3])
    assert "  model   loop" == lines[4]
    assert re.fullmatch(r"  gate    at most [\d,]+ connections, [\d,]+ per remote address", lines[5])
    assert f"  try:    penstock connect {served.addresses[0]} --codec lines" == lines[6]
    assert "(Press CTRL+C to quit)" == lines[7]
    assert b"HELLO\n" == exchange(address, b"hello\n")


def test_the_line_to_try_works(serve, penstock):
    """As it stands in the banner."""
    served = serve("echo")
    log = wait_for(served, "quit)\n")
    command = next(line for line in log.splitlines() if line.startswith("  try:    penstock ")).split()[2:]

    assert "hello\n" == penstock(*command, data="hello\n").stdout


@pytest.mark.parametrize(
    ("bind", "host"),
    [("tcp://0.0.0.0:0", "127.0.0.1"), ("tcp://[::]:0?family=ipv6", "[::1]"), ("tcp://*:0", "127.0.0.1")],
)
def test_every_address_of_the_machine_is_tried_at_one(serve, penstock, bind, host):
    """Nobody connects to 0.0.0.0."""
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    log = wait_for(serve("echo", "--no-warn-public", bind=bind), "quit)\n")
    command = next(line for line in log.splitlines() if line.startswith("  try:    penstock ")).split()[2:]

    assert f"tcp://{host}:" in command[1]
    assert "hello\n" == penstock(*command, data="hello\n").stdout


def test_readiness_is_a_line_of_json_on_standard_output(serve):
    """The only one: for scripts that chose port 0."""
    served = serve("echo")
    served.stop()

    assert [EPHEMERAL.sub("*", address) for address in served.addresses] == ["tcp://*"]
    assert b"" == served.process.stdout.read()


def test_readiness_that_nobody_reads_stops_nobody(environ, directory):
    """Row 33: the server serves on."""
    path = directory / "s"
    read, write = os.pipe()
    os.close(read)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock", "serve", "echo", "--bind", f"unix:{path}", "--print-ready"],
            env=environ,
            cwd=directory,
            stdout=write,
            stderr=log,
        )
    os.close(write)
    while "quit)" not in (directory / "log").read_text():
        assert process.poll() is None
    with socket.socket(socket.AF_UNIX) as conn:
        conn.connect(str(path))
        conn.sendall(b"x")
        assert b"x" == conn.recv(10)
    process.terminate()

    assert 0 == process.wait(20)


def test_without_uvloop_the_banner_says_so(serve, directory):
    """Row 52: which loop runs, and why."""
    (directory / "uvloop.py").write_text("raise ImportError('it is broken')\n")
    log = wait_for(serve("echo", "--engine", "pure", env={"PYTHONPATH": str(directory)}), "quit)\n")

    assert "  engine  pure on asyncio, uvloop not being installed: asked for\n" in log


# -- what it warns of -------------------------------------------------------------------------------------------------


def warnings_of(served):
    """The warnings that a server began with."""
    return [line for line in wait_for(served, "quit)\n").splitlines() if line.startswith("penstock: warning: ")]


def test_a_public_address_is_warned_about(serve):
    """Row 30: in one line, with the switch to silence it."""
    (warning,) = warnings_of(serve("echo", bind="tcp://0.0.0.0:0"))

    assert re.match(r"penstock: warning: tcp://0\.0\.0\.0:[1-9]\d*: open to every host that can reach", warning)
    assert "--no-warn-public" in warning
    assert [] == warnings_of(serve("echo", "--no-warn-public", bind="tcp://0.0.0.0:0"))
    assert [] == warnings_of(serve("echo", bind="tcp://127.0.0.1:0"))
    assert [] == warnings_of(serve("echo", bind="unix:s"))


def test_a_public_socket_that_is_handed_down_is_warned_about(serve):
    """What it is bound to is known once it is served: of its number, or the environment, nothing shows."""
    with socket.create_server(("0.0.0.0", 0)) as sock:
        options = {"bind": f"fd://{sock.fileno()}", "pass_fds": [sock.fileno()]}
        exposed, idle = warnings_of(serve("echo", "--timeout-idle", "none", **options))
        (still_idle,) = warnings_of(serve("echo", "--timeout-idle", "none", "--no-warn-public", **options))
        address = f"tcp://0.0.0.0:{sock.getsockname()[1]}"

    assert f"{address}: open to every host that can reach this machine" in exposed
    assert idle == still_idle
    assert "timeout_idle: off on a public address" in idle


def test_protection_that_is_turned_off_in_public_is_warned_about(serve):
    """``none`` is allowed, and said."""
    warnings = warnings_of(serve("echo", "--timeout-idle", "none", "--no-warn-public", bind="tcp://0.0.0.0:0"))

    assert ["timeout_idle: off on a public address"] == [
        warning.removeprefix("penstock: warning: ").partition(": idle")[0] for warning in warnings
    ]


def test_a_gate_that_stands_open_in_public_is_warned_about(serve):
    """One peer could take everything there is."""
    options = ("--max-connections", "none", "--max-per-peer", "none", "--no-warn-public")
    (warning,) = warnings_of(serve("echo", *options, bind="tcp://0.0.0.0:0"))

    assert "max_connections, max_per_peer: off on a public address: one client" in warning


def test_a_write_timeout_that_the_kernel_does_not_wait_for_is_warned_about(penstock):
    """With both times, and what to do."""
    done = penstock("check", "echo", "--timeout-write", "5m")
    told = "timeout_write is 5m, but the kernel drops a TCP client that stops reading after tcp_user_timeout, 30s: "

    assert f"penstock: warning: {told}set that, too\n" == done.stderr
    assert "" == penstock("check", "echo", "--timeout-write", "5m", "--tcp-user-timeout", "none").stderr
    assert "" == penstock("check", "echo", "--timeout-write", "5m", "--bind", "unix:s").stderr


@pytest.mark.skipif(not os.path.exists("/proc/sys/net/core/somaxconn"), reason="the system does not tell its limit")
@pytest.mark.parametrize("own", ["hello.py", "hello/__init__.py"])
def test_a_module_that_is_called_like_a_classic_service_is_told_apart(penstock, directory, own):
    """Which of the two it is, and how to get the other; that command works."""
    (directory / own).parent.mkdir(exist_ok=True)
    (directory / own).write_text("from app import shout\n")
    classic = penstock("check", "hello")
    other = penstock("check", own)

    told = f"penstock: warning: serving the classic service hello, not {own}, which `penstock serve {own}` serves\n"
    assert (0, told) == (classic.returncode, classic.stderr)
    assert (0, "") == (other.returncode, other.stderr)
    assert other.stdout.startswith("ok: shout over lines")


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--tcp-user-timeout", "30d", "30d is not a duration in whole 1ms steps from 1ms to 2147483647ms, or none"),
        ("--tcp-keepalive", "10h", "10h is not a duration in whole seconds from 1s to 32767s, or none"),
        ("--tcp-keepalive-interval", "10h", "10h is not a duration in whole seconds from 1s to 32767s"),
        ("--timeout-idle", "4000d", "345600000.0 seconds is not from 0 to 315360000"),
    ],
)
def test_what_the_system_does_not_take_is_refused(penstock, command, option, value, allowed):
    """By `check` as by `serve`, in one line that says what is allowed."""
    done = penstock(command, "echo", option, value)

    assert (2, f"penstock: error: {option}: {allowed}") == (done.returncode, done.stderr.splitlines()[0])


def test_a_backlog_above_the_systems_is_warned_about(serve, penstock):
    """Row 18: with both numbers, once."""
    with open("/proc/sys/net/core/somaxconn") as file:
        limit = int(file.read())
    if limit >= 65535:
        pytest.skip("no backlog is above this system's limit")
    started = wait_for(serve("echo", "--backlog", "65535"), "quit)\n")
    (served,) = [line for line in started.splitlines() if "somaxconn" in line]
    (checked,) = penstock("check", "echo", "--backlog", "65535").stderr.splitlines()

    assert f"backlog 65535 is limited to {limit} by net.core.somaxconn" in served
    assert f"backlog 65535 is limited to {limit} by net.core.somaxconn" in checked


def test_an_unknown_variable_is_warned_about(serve):
    """Row 48: with the nearest one."""
    (warning,) = warnings_of(serve("echo", env={"PENSTOCK_BAKLOG": "1", "PENSTOCK_PREFIX": ">"}))

    assert "unknown variable PENSTOCK_BAKLOG ignored; did you mean PENSTOCK_BACKLOG?" in warning


# -- where its values come from ---------------------------------------------------------------------------------------


def test_file_environment_and_command_line(serve, directory):
    """Each overrides the one before; a service's own option is an option like all others."""
    (directory / "penstock.toml").write_text('prefix = "file>"\ncodec = "netstring"\n')
    from_file = serve("echo")
    from_environment = serve("echo", env={"PENSTOCK_PREFIX": "env>", "PENSTOCK_CODEC": "lines"})
    from_option = serve("echo", "--prefix", "option>", "--codec", "raw", env={"PENSTOCK_PREFIX": "env>"})

    assert b"7:file>ab," == exchange(from_file.address, b"2:ab,")
    assert b"env>ab\n" == exchange(from_environment.address, b"ab\n")
    assert b"option>ab" == exchange(from_option.address, b"ab")


MARKED = """
import pathlib
from penstock.codecs import Lines
pathlib.Path("it-ran").touch()
Codec = Lines
"""


@pytest.mark.parametrize("file", ["penstock.toml", "pyproject.toml"])
def test_a_file_that_lies_there_runs_nothing_before_it_is_served(penstock, serve, directory, file):
    """The module of a codec that it names; then a warning says why. Who names the file, or the codec, means it."""
    (directory / "mine.py").write_text(MARKED)
    header = "[tool.penstock]" if file == "pyproject.toml" else "# ours"
    (directory / file).write_text(f"{header}\ncodec = 'mine:Codec'\n")
    ran = directory / "it-ran"
    done = [penstock(*line, "echo") for line in (["check"], ["check", "--print-config"], ["serve", "--print-config"])]
    ran_for_looks = ran.exists()
    server = serve("echo")
    warning = f"the codec mine:Codec is run, for {file}:2 of the current directory names it"

    assert [0, 0, 0] == [each.returncode for each in done]
    assert "mine:Codec is not looked at" in done[0].stderr
    assert not ran_for_looks
    assert b"ab\n" == exchange(server.address, b"ab\n")
    assert ran.exists()
    while warning not in server.stderr.read_text():
        assert server.process.poll() is None

    ran.unlink()
    named = penstock("check", "echo", "--config", file)
    assert (0, "", True) == (named.returncode, named.stderr, ran.exists())


def test_a_directory_runs_nothing_for_a_codec_that_is_ours(penstock, directory):
    """Modules that are imported later are not looked for there: not in the directory where somebody happens to be."""
    for name in ("uvloop", "resource", "msgspec", "tomllib", "fcntl", "asyncio"):
        (directory / f"{name}.py").write_text(MARKED)
    (directory / "penstock.toml").write_text("codec = 'lines'\n")
    # Not -m without -P, by which Python itself looks there.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "penstock", "check", "echo", "--codec", "netstring"],
        cwd=directory,
        capture_output=True,
        check=False,
    )

    assert (0, False) == (done.returncode, (directory / "it-ran").exists())


def test_the_configuration_is_printed_with_sources(penstock, directory):
    """Row 40: and it is a configuration file itself."""
    (directory / "penstock.toml").write_text("\ufeff[table]\r\n".replace("[table]", "backlog = 7"), encoding="utf-8")
    done = penstock("serve", "echo", "--print-config", "--threads", "3", "--prefix", "x", env={"PENSTOCK_ONCE": "yes"})
    sources = {
        line.partition(" ")[0]: line.partition("  # ")[2].strip() for line in done.stdout.splitlines() if " = " in line
    }

    assert (0, "") == (done.returncode, done.stderr)
    assert ("penstock.toml:1", "--threads", "PENSTOCK_ONCE", "--prefix", "default") == tuple(
        sources[name] for name in ("backlog", "threads", "once", "prefix", "bind")
    )
    assert (7, 3, True, "x") == tuple(
        tomllib.loads(done.stdout)[name] for name in ("backlog", "threads", "once", "prefix")
    )


def test_the_configuration_may_be_in_the_projects_file(penstock, directory):
    """And another one may be named, by option or variable."""
    (directory / "pyproject.toml").write_text("[tool.penstock]\nbacklog = 5\n")
    (directory / "other.toml").write_text("backlog = 6\n")

    def backlog(*arguments, **env):
        return tomllib.loads(penstock("check", "echo", "--print-config", *arguments, env=env).stdout)["backlog"]

    assert 5 == backlog()
    assert 6 == backlog("--config", "other.toml")
    assert 6 == backlog(PENSTOCK_CONFIG="other.toml")


def test_checking_serves_nothing(penstock, directory):
    """Everything but the sockets."""
    done = penstock("check", "app:shout", "--bind", "unix:s", "--bind", "udp://127.0.0.1:9")

    assert (0, "ok: shout over lines on unix:s, udp://127.0.0.1:9\n", "") == (done.returncode, done.stdout, done.stderr)
    assert not (directory / "s").exists()


def test_checking_finds_what_serving_would(penstock):
    """A handler that the model cannot run, an engine that is not there."""
    done = penstock("check", "app:twice", "--model", "threads")

    assert 2 == done.returncode
    assert done.stderr.startswith("penstock: error: twice is async")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bind", "udp://127.0.0.1:9"), "talk needs connections, and udp://127.0.0.1:9 has none: "),
        (("--engine", "blocking"), "talk is async, which needs a loop; "),
    ],
    ids=["datagrams", "engine"],
)
def test_checking_refuses_what_does_not_go_together(penstock, directory, arguments, said):
    """A conversation where there are no connections, a coroutine where there is no loop."""
    (directory / "talk.py").write_text(
        "import penstock\n\n@penstock.on_connection(codec='lines')\nasync def talk(conn):\n    pass\n"
    )

    done = penstock("check", "talk:talk", *arguments)

    assert 2 == done.returncode
    assert done.stderr.startswith(f"penstock: error: {said}")


def test_checking_reads_the_files_of_networks(penstock, directory):
    """One that is not there, a line that is no network."""
    (directory / "deny.txt").write_text("10.0.0.0/8\nbad line\n")

    missing, bad = (penstock("check", "echo", "--deny", f"@{name}") for name in ("missing.txt", "deny.txt"))

    assert (2, 2) == (missing.returncode, bad.returncode)
    assert missing.stderr.startswith("penstock: error: missing.txt: cannot be read: ")
    assert bad.stderr.startswith("penstock: error: deny.txt:2: 'bad line' is not a network ")


def test_checking_says_what_would_be_lowered(penstock):
    """A limit of connections above what the descriptors allow, with both numbers."""
    done = penstock("check", "echo", "--max-connections", "100000000")

    assert 0 == done.returncode
    assert "max_connections lowered from 100000000 to " in done.stderr


# -- what is in the way -----------------------------------------------------------------------------------------------


def test_a_port_in_use_is_status_4_and_names_who_holds_it(serve, penstock):
    """Row 7: at once; the process where it can be found in a bounded search, its user where not."""
    served = serve("echo")
    done = penstock("serve", "echo", "--bind", served.address)

    assert (4, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"penstock: error: cannot listen on {served.address}: ")
    assert len(done.stderr.splitlines()) <= 3
    if sys.platform == "linux":
        assert re.search(rf"in use by (pid {served.process.pid} |a process of user )", done.stderr)


def test_a_unix_socket_is_replaced_when_it_is_stale_and_only_then(serve, penstock, directory):
    """Rows 24 and 25: a live one is left alone, a dead one replaced, a file never touched."""
    served = serve("echo", bind="unix:s")
    held = penstock("serve", "echo", "--bind", "unix:s")
    served.process.kill()
    served.process.wait(20)
    stale = serve("echo", bind="unix:s")
    file = penstock("serve", "echo", "--bind", "unix:app.py")

    assert (4, 4) == (held.returncode, file.returncode)
    assert "unix:s" == stale.address
    assert (directory / "app.py").read_text().startswith("import penstock")
    assert 0 == stale.stop()
    assert not (directory / "s").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the rule is Linux's")
def test_a_privileged_port_names_the_right_that_is_missing(environ, directory):
    """Row 11."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may bind every port, and there is no setpriv to give that up")
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        if int(file.read()) <= 1:
            pytest.skip("every port is open to everybody here")
    command = [sys.executable, "-m", "penstock", "serve", "echo", "--bind", "tcp://127.0.0.1:1"]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service", "--", *command]
        command[1:1] = []
    done = subprocess.run(command, env=environ, cwd=directory, capture_output=True, text=True, timeout=30)

    assert 4 == done.returncode, done.stderr
    assert "CAP_NET_BIND_SERVICE" in done.stderr


# -- how it logs ------------------------------------------------------------------------------------------------------


def test_a_handler_that_raises_is_logged_once_with_its_traceback_and_peer(serve):
    """And the server serves on."""
    served = serve("app:fail")
    assert b"" == exchange(served.address, b"x\n")
    log = wait_for(served, "closed")

    assert 1 == log.count("Traceback (most recent call last):")
    assert 1 == log.count(" error ")
    assert "    ValueError: the handler is broken\n" in log
    assert re.search(r" error .*peer=127\.0\.0\.1:\d+", log)
    assert re.search(r" info closed: handler_error conn_id=1 ", log)


def test_the_log_as_json(serve):
    """Every line of standard error is an object: the banner is one, warnings are, tracebacks are a field."""
    served = serve("app:fail", "--log-format", "json", bind="tcp://0.0.0.0:0")
    port = served.address.rpartition(":")[2]
    exchange(f"tcp://127.0.0.1:{port}", b"x\n")
    wait_for(served, '"closed"')
    served.stop()
    lines = [json.loads(line) for line in served.log().splitlines()]
    by_event = {line["event"]: line for line in lines}

    assert {"warning", "ready", "handler_failed", "closed"} <= by_event.keys()
    assert served.addresses == by_event["ready"]["addresses"]
    assert "ValueError: the handler is broken" in by_event["handler_failed"]["exception"]
    closed = by_event["closed"]
    assert ("info", "penstock.access", "handler_error", 2, 0) == (
        closed["level"],
        closed["logger"],
        closed["reason"],
        closed["bytes_in"],
        closed["bytes_out"],
    )
    assert {"ts", "conn_id", "peer", "listener", "duration_s"} <= closed.keys()


def test_what_is_logged_can_be_chosen(serve):
    """By level, and the access log by itself."""
    quiet = serve("echo", "--no-access-log")
    silent = serve("echo", "--log-level", "critical")
    for served in (quiet, silent):
        exchange(served.address, b"x")
        served.stop()

    assert "closed" not in quiet.log()
    assert "closed" not in silent.log()
    assert "draining" not in silent.log()


def test_the_log_as_logfmt(serve):
    """Every line of it, from the first to the last."""
    served = serve("echo", "--log-format", "logfmt", "--once")
    exchange(served.address, b"x")
    assert 0 == served.process.wait(20)

    lines = served.log().splitlines()
    assert all(line.startswith("ts=") for line in lines)
    assert {"ready", "draining", "closed"} == {
        word.removeprefix("event=") for line in lines for word in line.split() if word.startswith("event=")
    }


def test_a_file_sets_up_the_log(serve, directory):
    """Named in the configuration file, relative to that; a mistake in it is status 2, with its name."""
    (directory / "etc").mkdir()
    (directory / "etc" / "penstock.toml").write_text('log_config = "logging.toml"')
    file = directory / "etc" / "logging.toml"
    file.write_text(
        f"""
        formatters.short.format = "%(levelname)s %(message)s"
        handlers.file = {{class = "logging.FileHandler", filename = "{directory}/out", formatter = "short"}}
        loggers.penstock = {{handlers = ["file"], level = "INFO", propagate = false}}
        """
    )
    served = serve("echo", "--config", "etc/penstock.toml", "--once")
    exchange(served.address, b"x")
    assert 0 == served.process.wait(20)

    assert {"INFO draining", "INFO closed: done"} <= set((directory / "out").read_text().splitlines())
    assert "closed" not in served.log()


def test_a_file_that_sets_up_no_log_is_refused(penstock, directory):
    """Nothing is served."""
    (directory / "logging.toml").write_text("version = 2")
    done = penstock("serve", "echo", "--log-config", "logging.toml")

    assert (2, "penstock: error: logging.toml: dictConfig refuses it: Unsupported version: 2\n") == (
        done.returncode,
        done.stderr,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_log_on_a_full_disk_stops_nobody(serve):
    """T-75."""
    with open("/dev/full", "wb") as full:
        served = serve("echo", "--log-level", "debug", stderr=full)
        for _ in range(20):
            assert b"x" == exchange(served.address, b"x")

    assert 0 == served.stop()


def test_a_log_that_nobody_reads_stops_nobody(serve):
    """T-76: with standard error a full pipe, every connection is served, and the end comes when it is told to."""
    read, write = os.pipe()
    served = serve("app:fail", "--log-level", "debug", stderr=write)
    os.close(write)
    # Each connection logs more than a kilobyte, of which the pipe takes 64.
    for _ in range(150):
        assert b"" == exchange(served.address, b"x\n")
    status = served.stop()
    os.close(read)

    assert 0 == status


def test_a_log_whose_reader_is_gone_stops_nobody(serve):
    """As when the terminal is closed."""
    read, write = os.pipe()
    served = serve("echo", stderr=write)
    os.close(write)
    os.close(read)

    assert b"x" == exchange(served.address, b"x")
    assert 0 == served.stop()


# -- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_told_to(serve, number):
    """Status 0, no traceback, no warning of Python's, the Unix socket gone."""
    served = serve("echo", "--bind", "unix:s", env={"PYTHONWARNINGS": "always", "PYTHONDEVMODE": "1"})
    assert b"x" == exchange(next(a for a in served.addresses if a.startswith("tcp")), b"x")

    assert 0 == served.stop(number)
    assert "Traceback" not in served.log()
    assert "Warning" not in served.log()
    assert not (served.stderr.parent / "s").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_background_job_ends_cleanly_when_told_to(serve, background, number):
    """A script's `penstock serve … &` starts with SIGINT ignored; it is handled all the same, as other servers do."""
    served = serve("echo", under=background)

    assert b"x" == exchange(served.address, b"x")
    assert 0 == served.stop(number)


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONASYNCIODEBUG": "1"},
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONHASHSEED": "0"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"HOME": "/proc/none"},
    ],
    ids=str,
)
@pytest.mark.parametrize("engine", ["auto", "pure"])
def test_what_is_set_for_python_does_not_matter(serve, env, engine):
    """Rows 53 to 55: it serves, text that is no ASCII included, and ends with status 0."""
    served = serve("app:shout", "--engine", engine, env=env)

    assert "X é\n".encode() == exchange(served.address, "x é\n".encode())
    assert 0 == served.stop()
    assert "Traceback" not in served.log()


def test_once_serves_one_message_and_ends(serve):
    """By itself, with status 0."""
    served = serve("echo", "--once")

    assert b"x" == exchange(served.address, b"x")
    assert 0 == served.process.wait(20)


def test_a_connection_that_is_cut_at_the_drain_deadline_is_status_7(serve, directory):
    """Somebody lost something, and whoever started the server learns of it."""
    (directory / "stuck.py").write_text(
        "import asyncio, penstock\n@penstock.on_connection(codec='lines')\nasync def f(conn):\n"
        "    await conn.send(b'in')\n    await asyncio.sleep(3600)\n"
    )
    served = serve("stuck", "--timeout-drain", "100ms")
    host, _, port = served.address.partition("//")[2].rpartition(":")
    with socket.create_connection((host, int(port))) as conn:
        assert b"in\n" == conn.recv(10)
        assert 7 == served.stop()


def test_an_interrupt_before_it_serves_is_status_130(penstock, directory):
    """Nothing was started, nothing is told."""
    (directory / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = penstock("serve", "slow:f")

    assert (130, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("unshare") is None, reason="there is no unshare here")
def test_as_the_first_process_of_a_container_it_obeys_sigterm(environ, directory):
    """Row 56: the kernel gives process 1 no default signals. It hands them on to the server, its child, and reaps."""
    probe = subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip("this user may not make a namespace")
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "unshare",
                "--pid",
                "--fork",
                "--kill-child",
                sys.executable,
                "-m",
                "penstock",
                "serve",
                "echo",
                "--bind",
                "unix:s",
                "--print-ready",
            ],
            env=environ,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    ready = json.loads(process.stdout.readline())
    process.stdout.close()
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        child = int(file.read().split()[0])
    os.kill(child, signal.SIGTERM)

    assert 2 == ready["pid"]
    assert 0 == process.wait(20)


def test_few_descriptors_are_enough_to_start(environ, directory):
    """And nothing is inherited that was not meant to be."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "check", "echo"],
        env=environ,
        cwd=directory,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16)),
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_a_codec_of_ones_own_is_made_once(penstock, directory):
    """It may read a file or ask for a licence: once for all who want to know whether it can be made."""
    (directory / "own.py").write_text(
        "import penstock.codecs\n\n\nclass Own(penstock.codecs.Lines):\n    def __init__(self):\n"
        "        super().__init__()\n        print('made')\n"
    )
    done = penstock("check", "echo", "--codec", "own:Own")

    assert ("made\nok: echo over lines on tcp://127.0.0.1:9000\n", 0) == (done.stdout, done.returncode)
