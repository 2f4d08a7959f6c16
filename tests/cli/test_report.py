"""Bad input and what is reported, as a table. Each row is one run of the program.

An answer is one to three lines on standard error that say what, where, what is allowed and what to do, and the exit
status of its class; nothing on standard output, no traceback, nothing opened.
"""

import os

import pytest

REFUSED, USAGE, APPLICATION, BIND, TLS = 1, 2, 3, 4, 5


def check(done, status, *lines):
    """Compare a finished process with what was expected of it, line by line; ``…`` ends a line that may go on."""
    told = done.stderr.rstrip("\n").split("\n")
    for number, expected in enumerate(lines[: len(told)]):
        if expected.endswith("…"):
            told[number] = told[number][: len(expected) - 1] + "…"

    assert (status, list(lines), "") == (done.returncode, told, done.stdout)
    assert len(told) <= 3 or status == APPLICATION


SERVE_HELP = "  penstock serve --help shows what is allowed"

ROWS = {
    "1 module not found": (
        ["serve", "ap:shout"],
        APPLICATION,
        "penstock: error: no module named ap; looked in {directory} and on Python's path; did you mean app?",
    ),
    "2 attribute not found": (
        ["serve", "app:shuot"],
        APPLICATION,
        "penstock: error: app has no shuot; it holds shout, echo, objects, twice, farewell, silent, fail, abort; "
        "did you mean shout?",
    ),
    "3 import error in the user's module": (
        ["serve", "broken:f"],
        APPLICATION,
        "penstock: error: cannot import broken: ZeroDivisionError: division by zero",
        "    broken.py:2 in g: return 1 / 0",
        "    broken.py:3 in <module>: g()",
    ),
    "4 syntax error in the user's file": (
        ["serve", "syntax:f"],
        APPLICATION,
        "penstock: error: syntax.py:2:9: invalid syntax",
        "    y = = 1",
        "        ^",
    ),
    "5 no colon, several services": (
        ["serve", "app"],
        APPLICATION,
        "penstock: error: app holds 8 services: shout, echo, objects, twice, farewell, silent, fail, abort; "
        "say which: app:shout",
    ),
    "5 no colon, neither service nor module": (
        ["serve", "ehco"],
        USAGE,
        "penstock: error: no service or module named 'ehco'; did you mean echo?",
        "    services: …",
    ),
    "6 not a handler": (
        ["serve", "broken_shapes:number"],
        APPLICATION,
        "penstock: error: broken_shapes:number: expected a Service, a Handler class or a function, got int",
    ),
    "6 a handler of the wrong signature": (
        ["serve", "broken_shapes:nothing"],
        APPLICATION,
        "penstock: error: broken_shapes:nothing: a message handler takes (message) or (conn, message); "
        "nothing() cannot be called like that",
    ),
    "8 port 99999": (
        ["serve", "app:echo", "--bind", "tcp://127.0.0.1:99999"],
        USAGE,
        "penstock: error: --bind: 'tcp://127.0.0.1:99999' is not an address: "
        "port '99999' is not a number from 0 to 65535",
    ),
    "9 port abc": (
        ["serve", "app:echo", "--bind", "tcp://127.0.0.1:abc"],
        USAGE,
        "penstock: error: --bind: 'tcp://127.0.0.1:abc' is not an address: port 'abc' is not a number from 0 to 65535",
    ),
    "12 host cannot be resolved": (
        ["serve", "app:echo", "--bind", "tcp://nothing.invalid:9000", "--no-warn-public"],
        BIND,
        "penstock: error: cannot listen on tcp://nothing.invalid:9000: the host nothing.invalid cannot be resolved: …",
    ),
    "13 address not on this machine": (
        ["serve", "app:echo", "--bind", "tcp://192.0.2.1:9000", "--no-warn-public"],
        BIND,
        "penstock: error: cannot listen on tcp://192.0.2.1:9000: …",
    ),
    "14 unknown option": (["serve", "app:echo", "--bakclog", "1"], USAGE, "", SERVE_HELP),
    "14 the beginning of an option is no option": (["serve", "app:echo", "--back", "1"], USAGE, "", SERVE_HELP),
    "14 an option of another server": (["serve", "app:echo", "--prot", "1"], USAGE, "", SERVE_HELP),
    "15 threads 0": (
        ["serve", "app:echo", "--threads", "0"],
        USAGE,
        "penstock: error: --threads: 0 is not a whole number from 1 to 1024",
    ),
    "16 threads -1": (
        ["serve", "app:echo", "--threads", "-1"],
        USAGE,
        "penstock: error: --threads: -1 is not a whole number from 1 to 1024",
    ),
    "19 reload with workers": (
        ["serve", "app:echo", "--workers", "4", "--reload"],
        USAGE,
        "penstock: error: --reload and --workers contradict each other: give one",
    ),
    "17 backlog -1": (
        ["serve", "app:echo", "--backlog", "-1"],
        USAGE,
        "penstock: error: --backlog: -1 is not a whole number from 1 to 65535",
    ),
    "19 two options that contradict each other": (
        ["serve", "app:echo", "--model", "threads", "--one-at-a-time"],
        USAGE,
        "penstock: error: --model threads and --one-at-a-time contradict each other: give one",
        SERVE_HELP,
    ),
    "20 no certificate": (
        ["serve", "app:echo", "--bind", "tls://127.0.0.1:9000"],
        TLS,
        "penstock: error: tls://127.0.0.1:9000: TLS needs a certificate: give one with --tls-cert, and its key with "
        "--tls-key",
    ),
    "20 a certificate that is missing": (
        ["serve", "app:echo", "--ssl-certfile", "missing.pem"],
        TLS,
        "penstock: error: --tls-cert: missing.pem cannot be read: no such file or directory",
    ),
    "20 what others call it": (
        ["serve", "app:echo", "--certfile", "missing.pem"],
        USAGE,
        "penstock: error: unknown option --certfile; write --tls-cert",
        SERVE_HELP,
    ),
    "21 not PEM": (
        ["check", "app:echo", "--tls-cert", "app.py"],
        TLS,
        "penstock: error: --tls-cert: app.py holds no certificate in PEM",
    ),
    "42 client certificates without a CA": (
        ["check", "app:echo", "--tls-client-auth", "required"],
        USAGE,
        "penstock: error: --tls-client-auth: --tls-client-auth=required needs a --tls-client-ca, by which to verify …",
    ),
    "24 Unix path is a regular file": (
        ["serve", "app:echo", "--bind", "unix:app.py"],
        BIND,
        "penstock: error: cannot listen on unix:app.py: …",
    ),
    "26 Unix path too long": (
        ["serve", "app:echo", "--bind", "unix:" + "x" * 108],
        USAGE,
        f"penstock: error: --bind: 'unix:{'x' * 108}' is not an address: the path has 108 bytes, …",
    ),
    "27 a descriptor that is not open": (
        ["serve", "app:echo", "--bind", "fd://99"],
        BIND,
        "penstock: error: cannot listen on fd://99: …",
    ),
    "28 a descriptor that is no socket": (
        ["serve", "app:echo", "--bind", "fd://0"],
        BIND,
        "penstock: error: cannot listen on fd://0: …",
    ),
    "29 the same address twice": (
        ["serve", "app:echo", "--bind", "tcp://127.0.0.1:9000", "--bind", "127.0.0.1:9000"],
        USAGE,
        "penstock: error: --bind: bind has the same address twice: tcp://127.0.0.1:9000 and 127.0.0.1:9000",
    ),
    "29 one address within another": (
        ["serve", "app:echo", "--bind", "tcp://0.0.0.0:9000", "--bind", "tcp://127.0.0.1:9000", "--no-warn-public"],
        USAGE,
        "penstock: error: tcp://0.0.0.0:9000 and tcp://127.0.0.1:9000 are the same, or one is part of the other; …",
    ),
    "32 sizes and durations": (
        ["serve", "app:echo", "--write-high", "10mbb", "--timeout-idle", "5 parsecs", "--timeout-write", "-1s"],
        USAGE,
        "penstock: error: --timeout-idle: '5 parsecs' is not a duration: "
        "write a number with ms, s, m, h or d, or none: 250ms, 10s, 1.5h",
        "penstock: error: --timeout-write: '-1s' is not a duration: write a number with ms, s, m, h or d, or none: "
        "250ms, 10s, 1.5h",
        "penstock: error: --write-high: '10mbb' is not a size: write a whole number of bytes, or one with kB, MB, GB, "
        "KiB, MiB or GiB: 512, 64KiB, 10MB",
    ),
    "42 values that contradict each other": (
        ["serve", "app:echo", "--write-low", "128KiB"],
        USAGE,
        "penstock: error: --write-low: --write-low is 128KiB, above --write-high with 64KiB",
    ),
    "unknown codec": (
        ["serve", "app:echo", "--codec", "linse"],
        USAGE,
        "penstock: error: --codec: no codec is called 'linse'; did you mean lines? (there are …",
    ),
    "unknown option of a codec": (
        ["serve", "app:echo", "--codec", "lines:mx=1KiB"],
        USAGE,
        "penstock: error: --codec: codec lines has no option 'mx'; did you mean max? (it has …",
    ),
    "unknown engine": (
        ["serve", "app:echo", "--engine", "nativ"],
        USAGE,
        "penstock: error: --engine: 'nativ' is not one of auto, native, pure, blocking; did you mean native?",
    ),
    "an option of another service": (
        ["serve", "chat", "--prefix", "x"],
        USAGE,
        "penstock: error: --prefix: is an option of echo, not of chat",
    ),
    "an option of a service for the user's own": (
        ["serve", "app:echo", "--prefix", "x"],
        USAGE,
        "penstock: error: --prefix: is an option of echo, not of app:echo",
    ),
    "no argument": (["serve"], USAGE, "penstock: error: missing argument 'SERVICE'", SERVE_HELP),
    "two services": (
        ["serve", "app:echo", "app:shout"],
        USAGE,
        "penstock: error: got unexpected extra argument (app:shout)",
        SERVE_HELP,
    ),
    "an option without its value": (
        ["serve", "app:echo", "--backlog"],
        USAGE,
        "penstock: error: option '--backlog' requires an argument",
        SERVE_HELP,
    ),
    "unknown command": (
        ["srve"],
        USAGE,
        "penstock: error: unknown command 'srve'; did you mean serve?",
        "  penstock --help shows what is allowed",
    ),
    "a command that was left out before what is served": (
        ["app:shout", "--backlog", "5"],
        USAGE,
        "penstock: error: unknown command 'app:shout'; did you mean penstock serve app:shout?",
        "  penstock --help shows what is allowed",
    ),
    "a command that was left out before a classic service": (
        ["echo"],
        USAGE,
        "penstock: error: unknown command 'echo'; did you mean penstock serve echo?",
        "  penstock --help shows what is allowed",
    ),
    "a command that was left out before an address": (
        ["tcp://127.0.0.1:9000"],
        USAGE,
        "penstock: error: unknown command 'tcp://127.0.0.1:9000'; did you mean penstock connect tcp://127.0.0.1:9000?",
        "  penstock --help shows what is allowed",
    ),
    "nothing is near": (
        ["serve", "app:shout", "--loop"],
        USAGE,
        "penstock: error: unknown option --loop",
        SERVE_HELP,
    ),
    "the beginning of a codec": (
        ["serve", "app:shout", "--codec", "netstr"],
        USAGE,
        "penstock: error: --codec: no codec is called 'netstr'; did you mean netstring? (there are …",
    ),
    "unknown option of the program": (
        ["--verison"],
        USAGE,
        "penstock: error: unknown option --verison; did you mean --version?",
        "  penstock --help shows what is allowed",
    ),
    "unknown shell": (
        ["completion", "bsh"],
        USAGE,
        "penstock: error: 'bsh' is not one of bash, zsh, fish; did you mean bash?",
    ),
    "37 a configuration file that is not TOML": (
        ["serve", "app:echo", "--config", "syntax.toml"],
        USAGE,
        "penstock: error: syntax.toml:2:11: invalid value",
        "    backlog = ",
    ),
    "38, 39 unknown key, wrong type, out of range: all at once": (
        ["serve", "app:echo", "--config", "wrong.toml"],
        USAGE,
        "penstock: error: wrong.toml:1: unknown option 'timout_idle'; did you mean timeout_idle?",
        'penstock: error: wrong.toml:2: timeout_write: expected a duration in quotes ("10s"), got 5',
        "penstock: error: wrong.toml:3: backlog: 99999 is not a whole number from 1 to 65535",
    ),
    "41 configuration file not found": (
        ["serve", "app:echo", "--config", "nothing.toml"],
        USAGE,
        "penstock: error: nothing.toml: cannot read it: no such file or directory",
    ),
    "41 configuration file is a directory": (
        ["serve", "app:echo", "--config", "/"],
        USAGE,
        "penstock: error: /: cannot read it: is a directory",
    ),
    "41 configuration file of a gigabyte": (
        ["serve", "app:echo", "--config", "huge.toml"],
        USAGE,
        "penstock: error: huge.toml: it is larger than 1MiB, too large for a configuration file",
    ),
    "35 connect to nothing": (
        ["connect", "tcp://127.0.0.1:1"],
        1,
        "penstock: error: cannot connect to tcp://127.0.0.1:1: …",
    ),
    "35 send to nothing": (
        ["send", "tcp://127.0.0.1:1", "x"],
        1,
        "penstock: error: cannot connect to tcp://127.0.0.1:1: …",
    ),
    "35 connect over TLS to nothing": (
        ["connect", "tls://127.0.0.1:1"],
        1,
        "penstock: error: cannot connect to tls://127.0.0.1:1: …",
    ),
    "connect to no address": (
        ["connect", "127.0.0.1"],
        USAGE,
        "penstock: error: URL: '127.0.0.1' is not an address: …",
    ),
    "connect as netcat does": (
        ["connect", "127.0.0.1", "9000"],
        USAGE,
        "penstock: error: got unexpected extra argument (9000); write 127.0.0.1:9000",
        "  penstock connect --help shows what is allowed",
    ),
    "connect without a port": (
        ["connect", "localhost"],
        USAGE,
        "penstock: error: URL: 'localhost' is not an address: it has no port; write HOST:PORT, "
        "with a port from 1 to 65535",
    ),
    "send no message": (
        ["send", "tcp://127.0.0.1:1"],
        USAGE,
        "penstock: error: no message given; give one, or --from-file",
        "  penstock send --help shows what is allowed",
    ),
    "send what is no message": (
        ["send", "tcp://127.0.0.1:1", "--codec", "json-lines", "{}", "{"],
        USAGE,
        "penstock: error: message 2: json-lines messages are written as JSON: …",
    ),
    "send what the codec refuses": (
        ["send", "tcp://127.0.0.1:1", "--codec", "lines:max=3", "long"],
        USAGE,
        "penstock: error: message 1: …",
    ),
}

TOLD = {
    "14 unknown option": "penstock: error: unknown option --bakclog; did you mean --backlog?",
    "14 the beginning of an option is no option": "penstock: error: unknown option --back; did you mean --backlog?",
    "14 an option of another server": "penstock: error: unknown option --prot; write --bind tcp://HOST:PORT",
}


@pytest.fixture
def files(directory):
    """The files that the rows name."""
    (directory / "broken.py").write_text("def g():\n    return 1 / 0\ng()\n")
    (directory / "syntax.py").write_text("if True:\n    y = = 1\n")
    (directory / "broken_shapes.py").write_text("number = 3\ndef nothing(): pass\n")
    (directory / "syntax.toml").write_text("once = true\nbacklog = \n")
    (directory / "wrong.toml").write_text('timout_idle = "5m"\ntimeout_write = 5\nbacklog = 99999\n')
    with (directory / "huge.toml").open("wb") as file:
        file.truncate(2**30)
    return directory


@pytest.mark.parametrize("row", ROWS)
def test_bad_input_is_answered(penstock, files, row):
    """One run, one answer."""
    arguments, status, *lines = ROWS[row]
    lines = [line.format(directory=files) for line in lines]
    if row in TOLD:
        lines[0] = TOLD[row]

    check(penstock(*arguments), status, *lines)


ENVIRONMENT_ROWS = {
    "47 a number that is none": (
        {"PENSTOCK_THREADS": "abc"},
        "penstock: error: PENSTOCK_THREADS: 'abc' is not a whole number from 1 to 1024",
    ),
    "47 a codec that is none": (
        {"PENSTOCK_CODEC": "linse"},
        "penstock: error: PENSTOCK_CODEC: no codec is called 'linse'; did you mean lines? (there are …",
    ),
    "41 a configuration file that is not there": (
        {"PENSTOCK_CONFIG": "nothing.toml"},
        "penstock: error: nothing.toml: cannot read it: no such file or directory",
    ),
}


@pytest.mark.parametrize("row", ENVIRONMENT_ROWS)
def test_a_bad_variable_is_answered(penstock, row):
    """By its name."""
    variables, *lines = ENVIRONMENT_ROWS[row]

    check(penstock("serve", "app:echo", env=variables), USAGE, *lines)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["services"], ["--version"], ["--help"], ["check", "app:echo"]], ids=" ".join)
def test_output_that_cannot_be_written_is_answered(penstock, arguments):
    """Row 33, with a full disk: what was asked for is not there, and whoever asked is told."""
    with open("/dev/full", "w") as full:
        done = penstock(*arguments, stdout=full)

    assert (1, "penstock: error: cannot write standard output: no space left on device\n") == (
        done.returncode,
        done.stderr,
    )
