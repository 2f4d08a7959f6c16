"""What is opened before an application listens, and closed after it has drained."""

import asyncio
import contextlib

import pytest

from penstock.app.lifespan import Lifespan
from penstock.errors import ApplicationError


async def lived(function, app=None):
    """Open and close one."""
    closing = await Lifespan(function).open(app)
    await closing.close()


def forms(told):
    """Every way to write one: each tells when it is opened and closed."""

    async def asynchronous():
        told.append("opened")
        yield
        told.append("closed")

    def plain():
        told.append("opened")
        yield
        told.append("closed")

    return [asynchronous, plain, contextlib.asynccontextmanager(asynchronous), contextlib.contextmanager(plain)]


@pytest.mark.parametrize("index", range(4))
async def test_each_form_is_opened_and_closed_once(index):
    """A generator, async or not, and what returns a context manager."""
    told = []
    await lived(forms(told)[index])

    assert ["opened", "closed"] == told


async def test_it_is_given_the_application_if_it_takes_it():
    """By its one parameter."""
    given = []

    async def takes(app):
        given.append(app)
        yield

    await lived(takes, "the app")

    assert ["the app"] == given


async def test_a_failure_before_the_yield_is_one_line_with_the_place():
    """What failed, where in the user's file, and what it says; the exception itself is the cause."""

    async def database():
        raise OSError("no such file")
        yield

    with pytest.raises(ApplicationError) as caught:
        await lived(database)
    text = str(caught.value)

    assert text.startswith("the lifespan database (")
    assert "test_lifespan.py:" in text
    assert text.endswith(") failed: OSError: no such file")
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_cancellation_of_its_own_is_a_failure():
    """Only that of the start itself is passed on."""

    async def confused():
        raise asyncio.CancelledError
        yield

    with pytest.raises(ApplicationError, match=r"the lifespan confused .* failed: CancelledError"):
        await lived(confused)


async def test_one_without_a_yield_is_refused():
    """A coroutine function when it is declared; a generator that ends when it is opened."""

    async def coroutine():
        """No yield."""

    async def ends():
        if False:
            yield

    with pytest.raises(ApplicationError, match="coroutine has no yield"):
        Lifespan(coroutine)
    with pytest.raises(ApplicationError, match="ends ended without"):
        await lived(ends)


async def test_a_second_yield_is_a_failure_at_the_end():
    """There is one opening and one closing."""

    async def twice():
        yield
        yield

    with pytest.raises(ApplicationError, match="twice yielded twice"):
        await lived(twice)


async def test_what_cannot_yield_is_refused():
    """Told what was returned."""
    with pytest.raises(ApplicationError, match="returned int"):
        await lived(lambda: 42)


def test_one_that_wants_more_is_refused_when_it_is_declared():
    """It is called with the application, or with nothing."""
    with pytest.raises(ApplicationError, match=r"a lifespan takes \(app\), or nothing, and yields once"):
        Lifespan(lambda one, two: None)
