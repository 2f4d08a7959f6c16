"""Without the compiled engine there is nothing to test here; with a debug build nothing may be left alive."""

import gc

import pytest

pytest.importorskip("penstock.engines.native.engine")

from penstock.engines.native.census import census


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Connections, blocks and hidden references are as many after a test as before."""
    gc.collect()
    before = census()
    yield
    gc.collect()

    assert before == census()
