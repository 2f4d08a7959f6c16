"""Handlers that were written for something else meet every engine."""

from penstock.testing.fixtures import pytest_configure, pytest_generate_tests, serve

__all__ = ["pytest_configure", "pytest_generate_tests", "serve"]
