"""`serve` makes a server of what a user has."""

import pytest

import penstock
from penstock.config import Timeouts
from penstock.errors import ApplicationError


def shout(message):
    return message.upper()


async def conversation(conn):
    """Say nothing."""


class Callbacks(penstock.Handler):
    """Nothing is overridden."""


@pytest.mark.parametrize("target", [shout, conversation, Callbacks, penstock.on_message(shout)])
def test_a_function_a_handler_class_or_a_service_can_be_served(target):
    """Whatever a user writes, without a decorator too."""
    server = penstock.serve(target)

    assert getattr(target, "__name__", "shout") == server.service.name


def test_one_address_or_several():
    """A single one needs no list."""
    assert ("udp://127.0.0.1:1",) == penstock.serve(shout, bind="udp://127.0.0.1:1").config.bind
    assert ("udp://127.0.0.1:1", "unix:x") == penstock.serve(shout, bind=["udp://127.0.0.1:1", "unix:x"]).config.bind


def test_options_are_those_of_the_configuration():
    """By the fields' names."""
    server = penstock.serve(shout, codec="netstring", timeouts=Timeouts(idle_s=1.0))

    assert ("netstring", 1.0) == (server.service.codec.name, server.config.timeouts.idle_s)


def test_what_is_no_handler_is_refused():
    """Told what was expected and what was given."""
    with pytest.raises(ApplicationError) as caught:
        penstock.serve(42)

    assert "expected a Service, a Handler class or a function, got int" == str(caught.value)
