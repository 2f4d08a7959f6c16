"""What a target is, is told by what it is; where that cannot be, the user says."""

import asyncio
import functools
import socketserver

import pytest

import penstock
from penstock.adapters import WORDS, service_of
from penstock.errors import ApplicationError, ConfigurationError


def unclear(a, b):
    """Could be anything."""
    return b


def test_a_function_that_could_be_several_kinds_is_refused():
    """The line names what to say."""
    with pytest.raises(ApplicationError, match=r"unclear\(a, b\) could be called as .*--as message"):
        service_of(unclear)


def test_what_the_user_says_decides():
    """A function is what it is said to be."""
    made = {word: service_of(unclear, kind=word).written_for for word in ("message", "streams", "socket")}

    assert {"message": "", "streams": "asyncio streams", "socket": "blocking sockets"} == made


@pytest.mark.parametrize(
    ("target", "written_for"),
    [
        (socketserver.StreamRequestHandler, "socketserver"),
        (functools.partial(socketserver.BaseRequestHandler), "socketserver"),
        (asyncio.Protocol, "asyncio protocols"),
        (functools.partial(asyncio.BufferedProtocol), "asyncio protocols"),
        (lambda reader, writer: None, "asyncio streams"),
        (lambda sock, addr: None, "blocking sockets"),
        (lambda conn, message: None, ""),
        (lambda message: None, ""),
    ],
)
def test_what_a_target_is_shows_by_what_it_is(target, written_for):
    """By its class, or by the names of its parameters."""
    assert written_for == service_of(target).written_for


def test_a_decorated_function_is_what_its_decorator_says():
    """Its parameters may have any names."""
    service = penstock.on_message(unclear)

    assert service is service_of(service)


def test_no_kind_of_that_name_is_refused():
    """With what there is."""
    with pytest.raises(ConfigurationError, match=r"'sockets' is no kind of handler; did you mean socket\?"):
        service_of(unclear, kind="sockets")


def test_a_kind_that_does_not_fit_is_refused():
    """A class is no message handler."""
    with pytest.raises(ApplicationError, match="--as message is for a plain function"):
        service_of(socketserver.BaseRequestHandler, kind="message")


def test_no_two_kinds_have_one_word():
    """``--as`` names one."""
    assert len(WORDS) == len(set(WORDS))
