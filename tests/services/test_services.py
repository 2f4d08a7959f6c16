"""The list of the classic services."""

import pytest

from penstock import services
from penstock.config import ServerConfig
from penstock.config.options import options
from penstock.engines.base import Engine
from penstock.server.choice import choose

NAMES = ["print", "echo", "time", "daytime", "greeter", "hello", "chat", "discard", "chargen", "qotd"]


def test_all_are_there_under_their_names():
    """`all` and `find` know the same ones."""
    assert NAMES == [definition.name for definition in services.all()]
    assert all(services.find(name).name == name for name in NAMES)


@pytest.mark.parametrize("name", ["", "Echo", "definition", "display", "__init__", "os"])
def test_nothing_else_is_found(name):
    """A name that is none of theirs is no service, whatever modules there are."""
    assert services.find(name) is None


@pytest.mark.parametrize("name", NAMES)
def test_each_makes_a_service_of_its_own(name):
    """Made twice, two: they share no state. Their name, a sentence about them, and options no server has."""
    definition = services.find(name)
    first, second = definition.make(), definition.make()

    assert first is not second
    assert name == first.name
    assert definition.summary.endswith(".")
    assert "\n" not in definition.summary
    assert not {option.name for option in definition.options} & {option.name for option in options()}
    assert all(option.kind.check(option.default) is None for option in definition.options)


@pytest.mark.parametrize("name", NAMES)
def test_each_has_an_engine_under_every_model(name, model):
    """No model is refused."""
    config = ServerConfig(model=model)
    if name == "chargen" and model == "threads":
        pytest.importorskip("penstock.engines.blocking.engine")
    engine = choose(services.find(name).make(), config).engine

    assert isinstance(engine, Engine)
