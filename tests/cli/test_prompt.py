"""The prompt of ``penstock connect``: what is on the screen of a terminal, with a server at the other end."""

import shutil
import socket
import stat
import sys

import pytest

pytest.importorskip("prompt_toolkit")


@pytest.fixture
def screen(terminal, directory):
    """A function that starts ``penstock connect`` on a terminal."""

    def start(*arguments, env=None):
        command = [sys.executable, "-m", "penstock", "connect", *arguments]
        return terminal(*command, env={"XDG_STATE_HOME": str(directory / "state")} | (env or {}))

    return start


def greeting(served):
    """The first line on the screen."""
    return f"connected to {served.address.partition('//')[2]}; /help lists commands, CTRL+D ends"


def test_replies_come_above_the_prompt(serve, screen):
    """And CTRL+D ends it with status 0."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(greeting(served), ">")
    shown.type("one\r")
    shown.wait_for(greeting(served), "> one", "ONE", ">")
    shown.type("two\r")
    shown.wait_for("> two", "TWO", ">")
    shown.type("\x04")

    assert 0 == shown.end()


def test_what_is_typed_stays_below_a_reply_that_comes_meanwhile(serve, screen, penstock):
    """Half a line, a reply above it, the other half."""
    served = serve("chat")
    shown = screen(served.address)
    shown.wait_for(">")
    shown.type("/hel")
    shown.wait_for("> /hel")
    before = shown.lines[:-1]
    penstock("connect", served.address, data="hi\n")
    while shown.lines[-1] != "> /hel" or shown.lines[:-1] == before:
        assert shown.read(), shown.lines
    shown.type("p\r")
    shown.wait_for("Anything else is sent. // sends a line that begins with /.", ">")
    shown.type("/quit\r")

    assert 0 == shown.end()


def test_objects_are_typed_and_shown_as_json(serve, screen):
    """A line that is none is told of, and the conversation goes on."""
    served = serve("app:objects")
    shown = screen(served.address, "--codec", "json-lines")
    shown.wait_for(">")
    shown.type('{"a": [1]}\r')
    shown.wait_for('{"got": {"a": [1]}}', ">")
    shown.type("{\r")
    while not any(line.startswith("not sent: json-lines messages are written as JSON") for line in shown.lines):
        assert shown.read(), shown.lines
    shown.type("/json\r")
    shown.wait_for("JSON is shown indented", ">")
    shown.type("2\r")
    shown.wait_for("{", '  "got": 2', "}", ">")


def test_commands(serve, screen, directory):
    """Each does what /help says."""
    (directory / "messages").write_text("one\ntwo\n")
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type("/file messages\r")
    shown.wait_for("ONE", "TWO", ">")
    shown.type("/repeat 3 x\r")
    shown.wait_for("X", "X", "X", ">")
    shown.type("/hex 61 62\r")
    shown.wait_for("> /hex 61 62", "AB", ">")
    shown.type("/hex\r")
    shown.wait_for("replies are shown as hexadecimal", ">")
    shown.type("/repeat 1\r")
    shown.wait_for("> /repeat 1", "41 42", ">")
    shown.type("//slash\r")
    shown.wait_for("2f 53 4c 41 53 48", ">")
    shown.type("/halp\r")
    shown.wait_for("unknown command /halp; did you mean /help?; //halp sends it", ">")
    shown.type("/qu\t")
    shown.wait_for("> /quit")
    shown.type("\r")

    assert 0 == shown.end()


def test_history_is_kept_for_each_address_and_for_its_owner_alone(serve, screen, directory):
    """The arrow brings back what was typed in an earlier run; a line that begins with a space leaves no trace."""
    served = serve("app:shout")
    first = screen(served.address, "--codec", "lines")
    first.wait_for(">")
    first.type("remember\r")
    first.wait_for("REMEMBER", ">")
    first.type(" secret\r")
    first.wait_for(" SECRET", ">")
    first.type("\x04")
    first.end()
    again = screen(served.address, "--codec", "lines")
    again.wait_for(">")
    again.type("\x1b[A")
    again.wait_for("> remember")
    (file,) = (directory / "state" / "penstock" / "history").iterdir()

    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert "secret" not in file.read_text()


def test_a_peer_cannot_move_the_cursor(serve, screen):
    """Its control characters are shown as codes; a part of a line of raw bytes is shown too."""
    served = serve("app:echo")
    shown = screen(served.address)
    shown.wait_for(">")
    shown.type("/hex 1b 5b 32 4a\r")
    shown.wait_for("> /hex 1b 5b 32 4a", "\\x1b[2J", ">")


CLOSED = ("/reconnect connects again, Enter quits", "closed>")


def test_the_end_of_the_peer_is_said_and_enter_alone_ends(serve, screen):
    """The status is 0."""
    served = serve("app:farewell")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type("me\r")
    shown.wait_for("bye me", "the peer has closed the connection", *CLOSED)
    shown.type("\r")

    assert 0 == shown.end()


def test_after_the_end_of_the_peer_it_can_be_connected_to_again(serve, screen):
    """What is typed in between is not sent, and not lost without a word."""
    served = serve("app:farewell")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type("one\r")
    shown.wait_for("bye one", "the peer has closed the connection", *CLOSED)
    shown.type("two\r")
    shown.wait_for("not sent: not connected; /reconnect connects again", "closed>")
    shown.type("/reconnect\r")
    shown.wait_for(f"connected to {served.address.partition('//')[2]}", ">")
    shown.type("three\r")
    shown.wait_for("bye three", "the peer has closed the connection", *CLOSED)
    served.stop()
    shown.type("/reconnect\r")
    shown.wait_for(f"cannot connect to {served.address}: connection refused", "closed>")
    shown.type("\x04")

    assert 0 == shown.end()


def test_a_connection_that_is_made_anew_is_another(serve, screen):
    """The one before it is ended, and its end is not said."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type("/reconnect\r")
    shown.wait_for("> /reconnect", f"connected to {served.address.partition('//')[2]}", ">")
    shown.type("x\r")
    shown.wait_for("> x", "X", ">")
    shown.wait_until(lambda: "closed: peer_closed" in served.log())


def test_a_reset_is_said_and_the_status_is_1(serve, screen):
    """In the system's words, in red."""
    served = serve("app:abort")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type("x\r")
    shown.wait_for("connection reset by peer", *CLOSED)
    shown.type("\r")

    assert 1 == shown.end()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("", "without a message: it may wait no longer for the first"),
        ("x\r", "of silence: it may close idle connections"),
    ],
)
def test_a_close_after_silence_is_said_with_its_likely_cause(serve, screen, typed, told):
    """That is what a server's timeouts look like from outside."""
    served = serve("app:shout", "--timeout-first-message", "4s", "--timeout-idle", "4s")
    shown = screen(served.address, "--codec", "lines", env={"COLUMNS": "120"})
    shown.wait_for(">")
    shown.type(typed)
    shown.wait_for(*CLOSED)
    text = " ".join("".join(shown.screen.display).split())

    assert f"the peer has closed the connection after 4s {told}" in text


def test_ctrl_c_clears_half_a_line(serve, screen):
    """And ends the program only where nothing is typed."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type("half a line")
    shown.wait_for("> half a line")
    shown.type("\x03")
    shown.wait_for(greeting(served), ">")
    shown.type("whole\r")
    shown.wait_for("> whole", "WHOLE", ">")
    shown.type("\x03")

    assert 130 == shown.end()


def test_another_codec_is_spoken_from_now_on(serve, screen):
    """Its messages are written and shown as it has them; one that is none changes nothing."""
    served = serve("app:echo")
    shown = screen(served.address, "--codec", "lines", "--hex")
    shown.wait_for(">")
    shown.type("/codec\r")
    shown.wait_for("the codec is lines", ">")
    shown.type("/codec json-l\t")
    shown.wait_for("> /codec json-lines")
    shown.type("\r")
    shown.wait_for("> /codec json-lines", "the codec is json-lines", ">")
    shown.type('{"a": 1}\r')
    shown.wait_for('{"a": 1}', ">")
    shown.type("/codec lins\r")
    shown.wait_until(lambda: any("did you mean lines?" in line for line in shown.lines))
    shown.type("[2]\r")
    shown.wait_for("[2]", ">")
    shown.type("/codec netstring\r")
    shown.wait_for("the codec is netstring", ">")
    shown.type("as text\r")
    shown.wait_for("> as text", "as text", ">")


def test_interrupting_it_is_status_130(serve, screen):
    """Without a traceback."""
    served = serve("app:echo")
    shown = screen(served.address)
    shown.wait_for(">")
    shown.type("\x03")

    assert 130 == shown.end()
    assert "Traceback" not in "".join(shown.lines)


def test_no_colour_where_none_is_wanted(serve, screen):
    """NO_COLOR: what we say is not coloured."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines", env={"NO_COLOR": "1"})
    shown.wait_for(">")
    shown.type("/nothing\r")
    shown.wait_for("unknown command /nothing; /help lists them; //nothing sends it", ">")

    shown.type("x\r")
    shown.wait_for("X", ">")

    assert not [colour for colour in (b"\x1b[31m", b"\x1b[36m") if colour in shown.raw]


def test_times_are_shown_when_asked_for(serve, screen):
    """To the millisecond, before the reply."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines", "--timestamps")
    shown.wait_for(">")
    shown.type("x\r")
    while not (found := [line for line in shown.lines if line.endswith(" X")]):
        assert shown.read(), shown.lines

    assert [2, 1] == [found[0].count(mark) for mark in ":."]


def test_enter_alone_is_a_message_when_asked_for(serve, screen):
    """Else it is nothing."""
    served = serve("app:objects")
    with_it = screen(serve("app:shout").address, "--codec", "lines", "--send-empty", "--hex")
    without = screen(served.address, "--codec", "json-lines")
    with_it.wait_for(">")
    without.wait_for(">")
    with_it.type("\r61\r")
    without.type("\r1\r")
    without.wait_for(">", "> 1", '{"got": 1}', ">")
    with_it.wait_for("> 61", "41", ">")

    assert not any("not sent" in line for line in [*without.lines, *with_it.lines])


def test_a_line_is_edited(serve, screen):
    """With the keys of a shell: back a character, to the beginning, to the end, a word deleted, a line killed."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type("hellp\x1b[D\x1b[3~o\x01oh \x05 worlds\x7f")
    shown.wait_for("> oh hello world")
    shown.type("\r")
    shown.wait_for("> oh hello world", "OH HELLO WORLD", ">")
    shown.type("one two three\x17four")
    shown.wait_for("> one two four")
    shown.type("\x15rest\r")
    shown.wait_for("> rest", "REST", ">")


def test_lines_that_are_pasted_are_messages_each(serve, screen):
    """As lines of a pipe are; what is wrong with one keeps those after it."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines:max=5")
    shown.wait_for(">")
    shown.type("\x1b[200~one\ntwo\n\x1b[201~\r")
    shown.wait_for("ONE", "TWO", ">")
    shown.type("\x1b[200~three\nthirteen\nfour\n\x1b[201~\r")
    told = {"THREE", "not sent: message of 8 bytes exceeds max_frame_bytes=5"}
    shown.wait_until(lambda: told <= set(shown.lines))

    assert "FOUR" not in shown.lines


def test_json_that_is_pasted_may_go_over_several_lines(serve, screen):
    """One value is one message; several are several."""
    served = serve("app:objects")
    shown = screen(served.address, "--codec", "json-lines")
    shown.wait_for(">")
    shown.type('\x1b[200~{\n  "a": 1\n}\n\x1b[201~\r')
    shown.wait_for('{"got": {"a": 1}}', ">")
    shown.type("\x1b[200~1\n2\x1b[201~\r")
    shown.wait_for('{"got": 1}', '{"got": 2}', ">")


def test_history_is_of_one_address(serve, screen):
    """What was typed to one server is not offered to another; within one, it is searched."""
    first, second = serve("app:shout"), serve("app:shout")
    shown = screen(first.address, "--codec", "lines")
    shown.wait_for(">")
    for line in ("alpha", "beta"):
        shown.type(f"{line}\r")
        shown.wait_for(line.upper(), ">")
    shown.type("\x12al")
    shown.wait_until(lambda: any("alpha" in line and "al" in line for line in shown.lines[-2:]))
    shown.type("\r")
    shown.wait_until(lambda: shown.lines[-1] == "> alpha")
    shown.type("\x03\x04")
    shown.end()
    other = screen(second.address, "--codec", "lines")
    other.wait_for(">")
    other.type("\x1b[A\x1b[Afresh\r")
    other.wait_for(greeting(second), "> fresh", "FRESH", ">")


def test_commands_and_paths_are_completed(serve, screen, directory):
    """A command that is the only one, those that fit, and a path after /file."""
    (directory / "messages.txt").write_text("one\n")
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type("/h\t\t")
    shown.wait_until(lambda: {"/help", "/hex"} <= {word for line in shown.lines for word in line.split()})
    shown.type("\x15/fi\t")
    shown.wait_until(lambda: "> /file" in shown.lines)
    shown.type(" mess\t")
    shown.wait_until(lambda: "> /file messages.txt" in shown.lines)
    shown.type("\r")
    shown.wait_for("> /file messages.txt", "ONE", ">")


def test_mistakes_are_told_in_red_and_replies_have_a_colour(serve, screen):
    """The prompt has none."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type("x\r")
    shown.wait_for("X", ">")
    shown.type("/repeat none\r")
    shown.wait_for("/repeat: it takes how often, from 1 to 1000000, and a message", ">")
    rows = [row for row, line in enumerate(shown.screen.display) if line.startswith(("X", "/repeat:"))]

    assert ["cyan", "red"] == [shown.screen.buffer[row][0].fg for row in rows]
    assert "default" == shown.screen.buffer[rows[-1] + 1][0].fg


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/file", "/file: it takes the path of a file"),
        ("/file nothing", "/file: cannot read nothing: no such file or directory"),
        ("/repeat 3", "/repeat: nothing was sent yet"),
        ("/json [1", "/json: Expecting ',' delimiter: line 1 column 3 (char 2)"),
        ("/hex 0", "/hex: bytes are pairs of hexadecimal digits: 48 69 0a, or 48690a"),
    ],
)
def test_a_mistake_ends_nothing(serve, screen, line, told):
    """It is told, and the next line is sent."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines")
    shown.wait_for(">")
    shown.type(f"{line}\r")
    shown.wait_for(f"> {line}", told, ">")
    shown.type("x\r")
    shown.wait_for("> x", "X", ">")


def test_without_a_place_for_history_there_is_a_prompt(serve, screen):
    """Row 55: a home that is not there, or that cannot be written; the arrow brings back this run's lines."""
    served = serve("app:shout")
    shown = screen(served.address, "--codec", "lines", env={"XDG_STATE_HOME": "", "HOME": "/proc/none"})
    shown.wait_for(">")
    shown.type("kept\r")
    shown.wait_for("KEPT", ">")
    shown.type("\x1b[A\r")
    shown.wait_for("> kept", "KEPT", "> kept", "KEPT", ">")

    assert any(line.startswith("penstock: warning: no history is kept: ") for line in shown.lines)


def test_history_is_private_whatever_the_umask(serve, terminal, directory):
    """Row 55."""
    served = serve("app:shout")
    command = f'umask 000; exec "{sys.executable}" -m penstock connect {served.address} --codec lines'
    shown = terminal("sh", "-c", command, env={"XDG_STATE_HOME": str(directory / "state")})
    shown.wait_for(">")
    shown.type("x\r")
    shown.wait_for("X", ">")
    shown.type("\x04")
    shown.end()
    history = directory / "state" / "penstock" / "history"

    assert 0o700 == stat.S_IMODE(history.stat().st_mode)
    assert [0o600] == [stat.S_IMODE(file.stat().st_mode) for file in history.iterdir()]


@pytest.mark.outside
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_it_can_be_suspended(serve, terminal, directory):
    """CTRL+Z gives the shell back, and the prompt with what was typed is there again afterwards."""
    served = serve("app:shout")
    shown = terminal(
        "bash", "--norc", "--noprofile", "-i", env={"PS1": "$ ", "XDG_STATE_HOME": str(directory / "state")}
    )
    shown.wait_for("$")
    shown.type(f'clear; "{sys.executable}" -m penstock connect {served.address} --codec lines\r')
    shown.wait_for(">")
    shown.type("half")
    shown.wait_for("> half")
    shown.type("\x1a")
    shown.wait_until(lambda: shown.lines[-1] == "$")
    shown.type("fg\r")
    shown.wait_for("> half")
    shown.type(" whole\r")
    shown.wait_for("> half whole", "HALF WHOLE", ">")
    shown.type("\x04")
    shown.wait_until(lambda: shown.lines[-1] == "$")


@pytest.mark.parametrize("more", [(), ("--plain",)], ids=["prompt", "plain"])
def test_a_peer_that_stays_keeps_nobody(screen, more):
    """Whoever ends the input leaves, although the peer does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shown = screen(f"tcp://127.0.0.1:{listener.getsockname()[1]}", "--wait", "100ms", *more)
        shown.wait_for(">")
        shown.type("\x04")

        assert 0 == shown.end()
