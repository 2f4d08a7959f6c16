"""What a handler refuses: an error that it raises by itself, as a codec would."""

import pytest

import penstock
from penstock.core.refused import refusal_of
from penstock.errors import BadFrameError, FrameTooLongError, LocalProtocolError, ProtocolError, RemoteProtocolError


def raised(function):
    """Return what it raises, with where it came from."""
    try:
        function()
    except Exception as error:
        return error
    return None


def raising(error):
    """A function that raises it, one call deeper."""

    def inner():
        raise error

    return inner


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BadFrameError("x"), "bad_frame"),
        (FrameTooLongError(5, 4), "frame_too_large"),
        (RemoteProtocolError("x"), "bad_frame"),
        (ProtocolError("x"), "bad_frame"),
        (LocalProtocolError("x"), None),
        (ValueError("x"), None),
    ],
)
def test_the_error_says_the_reason(error, reason):
    """Of what this side did wrong it says none."""
    assert reason == refusal_of(raised(raising(error)))


def test_what_comes_out_of_our_own_code_is_not_the_handlers_word():
    """A client's connection inside a handler, say."""
    error = raised(lambda: penstock.codecs.Lines(max_frame_bytes=5).decode(penstock.Buffer(b"x" * 100)))

    assert (FrameTooLongError, None) == (type(error), refusal_of(error))


async def test_it_is_logged_without_a_traceback(caplog):
    """As when a codec says it: a warning, and the text."""

    @penstock.on_message
    def refuse(message):
        raise BadFrameError("no such command")

    async with penstock.serve(refuse, bind="tcp://127.0.0.1:0") as server:
        async with await penstock.connect(server.addresses[0]) as conn:
            with pytest.raises(penstock.EndOfStreamError):
                await conn.request(b"what?")
    (record,) = [record for record in caplog.records if "no such command" in record.getMessage()]

    assert ("WARNING", None) == (record.levelname, record.exc_info)
