"""Which tests are left to ``make combinations``: hooks of ``conftest.py`` say by what rule."""

import pytest

from penstock.engines.registry import native_missing

# Where one engine is enough in ``make test``, it is this one.
ENGINE = "pure" if native_missing() else "native"


def leave_to_combinations(items, is_one_of_many):
    """Mark each test of which ``is_one_of_many(item, params)`` is true, but those that are tried at full size alone."""
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if is_one_of_many(item, params) and item.get_closest_marker("full") is None:
            item.add_marker(pytest.mark.combination)
