"""What an application's handlers share."""

import pytest

import penstock


def test_whatever_is_set_is_there():
    """And is shown."""
    app = penstock.App()
    app.state.db = 1

    assert (1, "State(db=1)") == (app.state.db, repr(app.state))


def test_what_is_not_there_is_told_with_what_is():
    """A lifespan that was forgotten, or a typo."""
    with pytest.raises(AttributeError, match="the application's state has no 'db'; it has pool"):
        penstock.State(pool=1).db  # noqa: B018


def test_an_object_of_ones_own_takes_its_place():
    """Then a type checker knows what it has."""
    state = object()

    assert state is penstock.App(state=state).state
