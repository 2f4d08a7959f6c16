"""An application in a test."""

import pytest

import penstock
from penstock.errors import ApplicationError


@pytest.fixture
def app():
    """An application on ports that no test may count on."""
    app = penstock.App()

    @app.lifespan
    async def counting(app):
        app.state.count = 0
        yield

    @app.on_message(codec="json-lines", bind="tcp://0.0.0.0:5023")
    def add(conn, number: int) -> int:
        conn.app.state.count += number
        return conn.app.state.count

    @app.on_message(codec="lines", bind="unix:/run/penstock-admin.sock")
    def admin(conn, line: bytes) -> bytes:
        return b"%d" % conn.app.state.count

    return app


async def test_services_are_reached_by_their_names(app):
    """On free ports and files of the test's own, over the service's own codec."""
    async with app.test() as t:
        adding, asking = await t.connect("add"), await t.connect("admin")

        assert [3, 7, b"7"] == [await adding.request(3), await adding.request(4), await asking.request(b"?")]
        assert t.address("add").startswith("tcp://127.0.0.1:")
        assert t.address("admin").startswith("unix:")
        assert 1 == t["add"].stats.accepted


async def test_another_codec_can_be_spoken(app):
    """To send what a service does not take."""
    async with app.test() as t:
        conn = await t.connect("add", codec="lines")
        await conn.send(b"not json")
        await t["add"].wait_until(lambda add: add.stats.closed.total() == 1)

        assert {"bad_payload": 1} == dict(t["add"].stats.closed)


async def test_options_can_be_given(app):
    """For all services, and for one."""
    async with app.test(max_connections=3, services={"admin": {"max_connections": 4}}) as t:
        assert (3, 4) == (t["add"].gate.rules.max_connections, t["admin"].gate.rules.max_connections)


async def test_a_failure_at_the_end_fails_the_test(app):
    """It would only be logged otherwise."""

    @app.lifespan
    def broken():
        yield
        raise ValueError("no")

    with pytest.raises(ApplicationError, match="a lifespan failed at the end"):
        async with app.test():
            pass
