"""The native engine has two ways to speak TLS: each test runs on both."""

import pytest

from penstock.testing.fixtures import leave_to_ssl


@pytest.fixture(autouse=True)
def way(request, monkeypatch):
    """Where the engine is one with Python's `ssl` alone, have it use that: for its servers and its clients."""
    engine = getattr(request.node, "callspec", None) and request.node.callspec.params.get("engine")
    if engine is not None:
        leave_to_ssl(monkeypatch, engine)
