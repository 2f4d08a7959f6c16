"""What a peer says, on standard output: bytes for a pipe, harmless text for a terminal."""

import os

import pytest

from penstock.cli.output import PipeOutput, TerminalOutput


@pytest.fixture
def shown():
    """A function that lets another one write to a pipe, and returns what it wrote."""

    def run(action):
        read, write = os.pipe()
        action(write)
        os.close(write)
        data = b"".join(iter(lambda: os.read(read, 65536), b""))
        os.close(read)
        return data

    return run


def pieces(*data, whole=False, **options):
    """Return what makes a `TerminalOutput` show pieces of a stream, or messages."""

    def run(fd):
        output = TerminalOutput(fd, **{"prompt": False, "erase": True, **options})
        for piece in data:
            output.show(piece, whole=whole)
        output.finish()

    return run


def test_a_pipe_gets_the_very_bytes(shown):
    """A stream as it is; after a whole message, a newline."""

    def run(fd):
        output = PipeOutput(fd)
        output.ask()
        output.show(b"\xff\x1b[2J\r\n", whole=False)
        output.show(b"message", whole=True)
        output.finish()

    assert b"\xff\x1b[2J\r\nmessage\n" == shown(run)


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_character_cut_between_two_reads_is_shown_whole(shown, cut):
    """The rest of its bytes is waited for."""
    data = "é☂".encode()

    assert "é☂\n".encode() == shown(pieces(data[:cut], data[cut:]))


def test_half_a_character_at_the_end_is_shown_as_its_bytes(shown):
    """Nothing is swallowed."""

    assert b"ab\\xe2\\x98\n" == shown(pieces(b"ab\xe2\x98"))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([b"a\r\nb\n"], b"a\nb\n"),
        ([b"a\r", b"\nb\n"], b"a\nb\n"),
        ([b"a\rb\n"], b"a\\rb\n"),
        ([b"a\r"], b"a\\r\n"),
        ([b"\ttab\n"], b"\ttab\n"),
        ([b"\x1b[31mred\x07\n"], b"\\x1b[31mred\\x07\n"),
        ([b"\xff\n"], b"\\xff\n"),
        ([b"no newline"], b"no newline\n"),
    ],
)
def test_what_a_peer_says_cannot_hurt_a_terminal(shown, data, text):
    """Control characters are escaped; a line ends at LF or CRLF; the cursor is left at the beginning of one."""

    assert text == shown(pieces(*data))


def test_messages_stand_on_lines_of_their_own(shown):
    """Whatever is in them."""

    assert b"one\ntwo\\xe2\nthree\n" == shown(pieces(b"one", b"two\xe2", b"three\r", whole=True))


def test_a_reply_goes_above_the_prompt(shown):
    """The prompt's line is erased and written again below."""

    def run(fd):
        output = TerminalOutput(fd, prompt=True, erase=True)
        output.ask()
        output.answered()
        output.ask()
        output.show(b"reply\n", whole=False)
        output.show(b"more", whole=False)
        output.finish()

    assert b"> > \r\x1b[Kreply\n> \r\x1b[Kmore\n> \n" == shown(run)


def test_a_dumb_terminal_gets_no_escape_codes(shown):
    """The reply then stands on the line below the prompt."""

    def run(fd):
        output = TerminalOutput(fd, prompt=True, erase=False)
        output.ask()
        output.show(b"reply\n", whole=False)
        output.answered()
        output.finish()

    assert b"> \nreply\n> " == shown(run)
