"""The engines, as the conformance suite has them."""

from penstock.testing.fixtures import pytest_configure, pytest_generate_tests

__all__ = ["pytest_configure", "pytest_generate_tests"]
