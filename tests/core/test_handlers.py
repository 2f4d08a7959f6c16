"""What an engine has to know of a handler, whichever way it was written."""

import pytest

import penstock
from penstock.core.handlers import CallbackHandler, ConnectionHandler, Driver, MessageHandler, driver_of


class Echo(penstock.Handler):
    def on_message(self, conn, message):
        return conn, message


def echo(message):
    return message


def echo_with(conn, message):
    return conn, message


@pytest.mark.parametrize(
    ("handler", "expected", "where_all_block"),
    [
        (MessageHandler(echo, takes_connection=False, is_async=False), Driver.PUSH, Driver.THREAD),
        (MessageHandler(echo, takes_connection=False, is_async=True), Driver.TASK, Driver.TASK),
        (MessageHandler(echo, takes_connection=False, is_async=False, blocking=True), Driver.THREAD, Driver.THREAD),
        (CallbackHandler(Echo, is_async=False), Driver.PUSH, Driver.THREAD),
        (CallbackHandler(Echo, is_async=True), Driver.TASK, Driver.TASK),
        (CallbackHandler(Echo, is_async=False, blocking=True), Driver.THREAD, Driver.THREAD),
        (ConnectionHandler(echo, is_async=False), Driver.OWN_THREAD, Driver.OWN_THREAD),
        (ConnectionHandler(echo, is_async=True), Driver.TASK, Driver.TASK),
    ],
)
def test_a_driver_follows_from_what_the_handler_is(handler, expected, where_all_block):
    """And from the model: with threads, what is called at once is taken to block."""
    drivers = driver_of(handler, blocking=False), driver_of(handler, blocking=True)

    assert (expected, where_all_block) == drivers


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (MessageHandler(echo, takes_connection=False, is_async=False), b"x"),
        (MessageHandler(echo_with, takes_connection=True, is_async=False), ("conn", b"x")),
        (CallbackHandler(Echo, is_async=False), ("conn", b"x")),
    ],
)
def test_one_call_for_each_message_whatever_it_takes(handler, expected):
    """A function alone, one that takes the connection, a method: engines call them alike."""
    assert expected == handler.for_messages("conn", handler.callbacks())(b"x")


def test_callbacks_are_made_for_each_connection():
    """Their state is the connection's; functions have none."""
    handler = CallbackHandler(Echo, is_async=False)
    first, second = handler.callbacks(), handler.callbacks()

    assert (Echo, Echo) == (type(first), type(second))
    assert first is not second
    assert MessageHandler(echo, takes_connection=False, is_async=False).callbacks() is None
    assert ConnectionHandler(echo, is_async=True).callbacks() is None


def test_only_a_conversation_receives_for_itself():
    """For the others their connection does."""
    kinds = (MessageHandler, CallbackHandler, ConnectionHandler)

    assert (False, False, True) == tuple(kind.converses for kind in kinds)
