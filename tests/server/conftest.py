"""Listeners that are opened and closed again, mistakes that are caught, rights that are given up for a while."""

import os
import socket

import pytest

from penstock.address import parse_address
from penstock.errors import BindError, ConfigurationError
from penstock.server.sockets import close_listeners, open_listeners

from ..descriptors import none_left_open

NOBODY = 65534


@pytest.fixture
def no_descriptor_leaks():
    """The test ends with no more descriptors than it began with, whatever failed on the way."""
    with none_left_open():
        yield


@pytest.fixture
def listen(no_descriptor_leaks):
    """Open addresses given as text; close them when the test ends."""
    opened = []

    def open_them(*texts, **options):
        listeners = open_listeners([parse_address(text) for text in texts], **options)
        opened.extend(listeners)
        return listeners

    yield open_them
    close_listeners(opened)


@pytest.fixture
def refusal(no_descriptor_leaks):
    """Open addresses given as text; return the error that this raises."""

    def refused(*texts, **options):
        with pytest.raises((BindError, ConfigurationError)) as caught:
            close_listeners(open_listeners([parse_address(text) for text in texts], **options))
        return caught.value

    return refused


@pytest.fixture
def resolve_to(monkeypatch):
    """Make every name resolve to these addresses."""

    def resolve(*hosts):
        def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002  # the names are the module's
            found = [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in hosts]
            return [
                (each, type, 0, "", (host, port, 0, 0) if each == socket.AF_INET6 else (host, port))
                for each, host in found
                if family in {socket.AF_UNSPEC, each}
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolve


@pytest.fixture
def as_nobody():
    """Give up root's rights while the test runs."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give up its rights")
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)
