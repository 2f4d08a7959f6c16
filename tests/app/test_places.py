"""Where the services of an application listen."""

import pytest

from penstock.app.places import shared_out
from penstock.config import ServerConfig
from penstock.errors import ConfigurationError
from penstock.server.inherited import InheritedSocket


def bind(address):
    return ServerConfig(bind=(address,))


def test_inherited_sockets_go_to_the_services_they_are_called_after():
    """Where the service has no address; a service with one keeps it."""
    inherited = [InheritedSocket(3, "admin"), InheritedSocket(4, "tracker"), InheritedSocket(5, "tracker")]
    found = shared_out({"tracker": ServerConfig(), "admin": ServerConfig(), "other": bind("unix:x")}, inherited)

    assert {
        "tracker": (("fd://4", "fd://5"), inherited[1:]),
        "admin": (("fd://3",), inherited[:1]),
        "other": (("unix:x",), []),
    } == {name: (config.bind, mine) for name, (config, mine) in found.items()}


def test_one_that_is_alone_has_all_of_them():
    """As a single service has."""
    inherited = [InheritedSocket(3, "unknown"), InheritedSocket(4, "unknown")]

    assert ("fd://3", "fd://4") == shared_out({"echo": ServerConfig()}, inherited)["echo"][0].bind


def test_an_address_can_name_one():
    """By number, or by name."""
    inherited = [InheritedSocket(3, "a"), InheritedSocket(4, "b")]
    found = shared_out({"one": bind("fd://3"), "other": bind("fd://b")}, inherited)

    assert ([inherited[0]], [inherited[1]]) == (found["one"][1], found["other"][1])


def test_a_service_without_an_address_is_refused():
    """Unless it is alone: then it has the default."""
    with pytest.raises(ConfigurationError, match="the service admin has no address: write bind=… where it is declared"):
        shared_out({"tracker": bind("unix:x"), "admin": ServerConfig()}, [])

    assert ("tcp://127.0.0.1:9000",) == shared_out({"echo": ServerConfig()}, [])["echo"][0].bind


def test_a_socket_that_nobody_would_serve_is_refused():
    """Its clients would wait for ever."""
    with pytest.raises(ConfigurationError, match=r"no service has fd://3 \(web\): name it after one of one, other"):
        shared_out({"one": bind("unix:x"), "other": bind("unix:y")}, [InheritedSocket(3, "web")])
