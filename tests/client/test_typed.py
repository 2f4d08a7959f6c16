"""The options of clients, as a type checker sees them, are those that the constructors take."""

import inspect

import pytest

from penstock import Client, Pool
from penstock.client.typed import ClientOptions, PoolOptions


@pytest.mark.parametrize(("kind", "options"), [(Client, ClientOptions), (Pool, PoolOptions)])
def test_what_a_checker_knows_is_what_is_taken(kind, options):
    """Every option but the address and the codec, which each overload has of its own, and no other."""
    taken = set(inspect.signature(kind).parameters) - {"address", "codec"}

    assert taken == options.__optional_keys__
    assert set() == set(options.__required_keys__)
