"""An application as it is declared."""

import pytest

import penstock
from penstock.config import Limits, Timeouts
from penstock.errors import ApplicationError, ConfigurationError


@pytest.fixture
def app():
    """An application of two services."""
    app = penstock.App("fleet", timeout_idle="1m", write_max="2MiB")

    @app.on_message(bind="unix:a", timeouts={"idle": "10m", "first_message": 3.0}, limits={"write_high": "128KiB"})
    def tracker(message: bytes) -> bytes:
        return message

    @app.on_connection(codec="text", name="admin", bind=["unix:b", "unix:c"])
    async def talk(conn):
        """Say nothing."""

    return app


def test_a_decorated_function_stays_callable(app):
    """It is a service like any other, and its test needs no connection."""
    assert b"x" == app.services["tracker"](b"x")


def test_what_a_service_says_of_bad_messages_and_of_its_end_is_said_to_the_application_too():
    """The decorators take what `penstock.on_message` and `penstock.on_connection` take."""
    app = penstock.App()

    @app.on_message(codec="json-lines", on_bad_message="skip", cancel_on_close=True)
    async def points(point: list[int]) -> list[int]:
        return point

    @app.on_connection(codec="json-lines", on_bad_message="skip", cancel_on_close=True)
    async def talk(conn: penstock.Connection[int]) -> None:
        """Say nothing."""

    assert [("skip", True), ("skip", True)] == [
        (service.handler.on_bad_message, service.handler.cancel_on_close) for service in app.services.values()
    ]


def test_services_are_called_after_their_functions_or_by_name(app):
    """In the order in which they were declared, each with its codec."""
    assert [("tracker", "lines"), ("admin", "text")] == [
        (name, service.codec.name) for name, service in app.services.items()
    ]


def test_what_a_service_says_goes_before_what_the_application_says(app):
    """And what is said where it is served before both; what nobody says is the default."""
    configs = app.configs({"timeout_write": "7s"}, {"admin": {"timeout_idle": "2m"}})
    tracker, admin = configs["tracker"], configs["admin"]

    assert (600.0, 3.0, 7.0) == (tracker.timeouts.idle_s, tracker.timeouts.first_message_s, tracker.timeouts.write_s)
    assert (120.0, 10.0, 7.0) == (admin.timeouts.idle_s, admin.timeouts.first_message_s, admin.timeouts.write_s)
    assert (128 * 1024, 2**21) == (tracker.limits.write_high_bytes, tracker.limits.write_max_bytes)
    assert (64 * 1024, 2**21) == (admin.limits.write_high_bytes, admin.limits.write_max_bytes)
    assert (("unix:a",), ("unix:b", "unix:c")) == (tracker.bind, admin.bind)


def test_a_whole_group_sets_all_of_it():
    """Also what it leaves at its default."""
    app = penstock.App(timeouts=Timeouts(idle_s=1.0, write_s=2.0))
    app.add(lambda message: message, name="echo", timeouts=Timeouts(idle_s=5.0), limits=Limits(batch_messages=3))
    config = app.configs({}, {})["echo"]

    assert (5.0, 30.0, 3) == (config.timeouts.idle_s, config.timeouts.write_s, config.limits.batch_messages)


def test_a_handler_class_and_a_service_can_be_added():
    """As `penstock.serve` takes them, under another name too, over another codec."""
    app = penstock.App()

    class Sensor(penstock.Handler[bytes]):
        """Nothing is overridden."""

    made = penstock.on_message(lambda message: message)
    app.add(Sensor)
    app.add(made, name="copy", codec="netstring")

    assert [("Sensor", "lines"), ("copy", "netstring")] == [
        (name, service.codec.name) for name, service in app.services.items()
    ]


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        (lambda app: app.add(lambda m: m), "'<lambda>' is no name for a service"),
        (lambda app: app.add(lambda m: m, name="tracker"), "there are two services called tracker"),
        (lambda app: app.add(lambda m: m, name="x", timeout_idel="5m"), "unknown option 'timeout_idel'; did you mean"),
        (
            lambda app: app.add(lambda m: m, name="x", timeouts={"idel": 1}),
            "timeouts: unknown option 'idel'",
        ),
        (lambda app: app.add(lambda m: m, name="x", timeouts=5), "timeouts: expected Timeouts or a dict, got int"),
        (lambda app: app.add(lambda m: m, name="x", log_level="debug"), "log_level is of the whole process"),
        (lambda app: app.add(lambda m: m, name="x", log_config="log.toml"), "log_config is of the whole process"),
        (lambda app: app.add(lambda m: m, name="x", workers=2), "workers = 2: for a service write 1"),
        (lambda app: app.serve(services={"admin": {"workers": 3}}), "workers = 3: for a service write 1"),
        (lambda app: app.serve(bind="unix:x"), "an address is one service's: write --bind tracker=ADDRESS"),
        (lambda app: app.serve(once=True), "once is for a service that is alone"),
        (lambda app: app.serve(services={"trakcer": {}}), "there is no service 'trakcer'; did you mean tracker"),
        (
            lambda app: app.serve(services={"admin": {"write_high": "3MiB"}}),
            "admin: Limits.write_high_bytes",
        ),
    ],
)
def test_what_is_wrong_is_refused_where_it_is_said(app, declare, problem):
    """In one sentence, with what was meant."""
    with pytest.raises((ApplicationError, ConfigurationError)) as caught:
        declare(app)

    assert problem in str(caught.value)


def test_an_application_without_a_service_is_refused():
    """When it is to be served."""
    with pytest.raises(ApplicationError, match="app has no service: decorate a function with its on_message"):
        penstock.App().serve()


def test_the_only_service_takes_what_is_said_for_all():
    """Its address, too: an application of one is as easy as a function."""
    app = penstock.App()
    app.add(lambda message: message, name="echo")

    assert ("unix:x",) == app.configs({"bind": "unix:x"}, {})["echo"].bind


def test_background_tasks_need_an_application_that_is_served(app, recwarn):
    """Before that there is no loop; the coroutine is closed."""

    async def work():
        """Never begun."""

    with pytest.raises(ApplicationError, match="start background tasks in a lifespan"):
        app.task(work())

    assert [] == list(recwarn)
