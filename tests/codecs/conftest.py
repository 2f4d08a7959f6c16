"""Libraries that refuse in another way than the release at hand does."""

import pytest


class RefusedError(Exception):
    """An error of no class that anybody knows."""


@pytest.fixture(params=[ValueError, RuntimeError, UnicodeError, KeyError, RefusedError])
def refuse(request, monkeypatch):
    """A function that has the library of a codec refuse all it is given: with an error of one class after the other."""

    def call(_message):
        raise request.param("in other words")

    def replace(codec, *names):
        for name in names:
            monkeypatch.setattr(getattr(codec, "own", codec), name, call)
        return codec

    return replace
