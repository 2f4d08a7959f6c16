"""The types of the options are made from the options."""

import importlib.util
import typing
from pathlib import Path

from penstock.config.options import GROUPS, options
from penstock.config.typed import ServerOptions

ROOT = Path(__file__).parents[2]


def test_the_types_are_those_that_the_options_make():
    """``make docs-tables`` has been run since an option changed."""
    spec = importlib.util.spec_from_file_location("options_types", ROOT / "tools" / "options_types.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.render() == module.TARGET.read_text()


def test_every_option_has_a_type_and_nothing_else_has():
    """But the codec, a parameter of its own, and the two that stand for an address."""
    named = {option.name for option in options()} - {"codec"}

    assert named | set(GROUPS) | {"host", "port"} == set(typing.get_type_hints(ServerOptions))
