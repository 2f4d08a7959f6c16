"""From what a user wrote to a service: which of the three ways it is, and what is refused, in which words."""

import functools
import re

import pytest

import penstock
from penstock.config.keywords import timeouts_of
from penstock.core.handlers import CallbackHandler, ConnectionHandler, MessageHandler, settled
from penstock.core.service import callbacks
from penstock.errors import ApplicationError, ConfigurationError


def message_only(message):
    """Answer one message.

    More about it.
    """
    return message


def with_connection(conn, message):
    return message


async def message_async(message):
    return message


async def conversation(conn):
    pass


def conversation_in_a_thread(conn):
    pass


class Callbacks(penstock.Handler):
    """Keep what was said."""

    def on_message(self, conn, message):
        return message


class AsyncCallbacks(penstock.Handler):
    async def on_close(self, conn, reason):
        pass


class TestMessageHandlers:
    @pytest.mark.parametrize(
        ("function", "takes_connection", "is_async"),
        [
            (message_only, False, False),
            (with_connection, True, False),
            (message_async, False, True),
            (lambda message, extra=None: message, False, False),
            (lambda *arguments: arguments, False, False),
            (functools.partial(with_connection, None), False, False),
            (bytes.upper, False, False),
        ],
    )
    def test_its_signature_says_what_it_is_called_with(self, function, takes_connection, is_async):
        """The least it can be called with: the message, or the connection and the message."""
        handler = penstock.on_message(function).handler

        assert MessageHandler(function, takes_connection=takes_connection, is_async=is_async) == handler

    def test_it_serves_datagrams_too(self):
        """A datagram is a message."""
        service = penstock.on_message(message_only)

        assert service.handler is service.datagram

    @pytest.mark.parametrize("function", [lambda: None, lambda a, b, c: None, lambda *, message: message])
    def test_a_wrong_signature_is_refused(self, function):
        """With what it should be and what it is."""
        with pytest.raises(ApplicationError, match=r"takes \(message\) or \(conn, message\); <lambda>\(.*\) cannot"):
            penstock.on_message(function)

    def test_a_coroutine_cannot_block(self):
        """It would hold up the thread's loop, which there is not."""
        with pytest.raises(ApplicationError, match="message_async is async"):
            penstock.on_message(blocking=True)(message_async)

    def test_an_object_that_is_called_is_a_function_too(self):
        """Its ``__call__`` may be a coroutine."""

        class Shout:
            async def __call__(self, message):
                return message

        service = penstock.on_message(Shout())

        assert (True, "Shout") == (service.handler.is_async, service.name)


class TestConnectionHandlers:
    @pytest.mark.parametrize(("function", "is_async"), [(conversation, True), (conversation_in_a_thread, False)])
    def test_it_is_called_with_the_connection(self, function, is_async):
        """On the loop or in a thread; there is none for datagrams."""
        service = penstock.on_connection(function)

        assert ConnectionHandler(function, is_async=is_async) == service.handler
        assert service.datagram is None

    @pytest.mark.parametrize("function", [lambda: None, lambda conn, message: None])
    def test_a_wrong_signature_is_refused(self, function):
        """It takes one argument."""
        with pytest.raises(ApplicationError, match="takes one argument, the connection"):
            penstock.on_connection(function)


class TestCallbacks:
    @pytest.mark.parametrize(("kind", "is_async"), [(Callbacks, False), (AsyncCallbacks, True)])
    def test_a_class_is_made_for_each_connection(self, kind, is_async):
        """It is asynchronous when one of its callbacks is."""
        service = callbacks(kind, name="x")

        assert CallbackHandler(kind, is_async=is_async, handler_class=kind) == service.handler
        assert service.handler is service.datagram

    def test_a_callback_with_a_wrong_signature_is_refused(self):
        """By its name, with how it is called."""

        class Wrong(penstock.Handler):
            def on_message(self, message):
                pass

        with pytest.raises(ApplicationError, match=r"Wrong.on_message is called as on_message\(self, conn, message\)"):
            callbacks(Wrong, name="x")

    def test_a_class_that_needs_arguments_is_refused(self):
        """Nobody is there to give them."""

        class Needy(penstock.Handler):
            def __init__(self, room):
                pass

        with pytest.raises(ApplicationError, match="Needy is made without arguments"):
            callbacks(Needy, name="x")


class TestAsService:
    @pytest.mark.parametrize(
        ("target", "kind"),
        [
            (message_only, MessageHandler),
            (with_connection, MessageHandler),
            (conversation, ConnectionHandler),
            (lambda connection: None, ConnectionHandler),
            (Callbacks, CallbackHandler),
            (penstock.on_connection(conversation), ConnectionHandler),
        ],
    )
    def test_whatever_a_user_names(self, target, kind):
        """A service, a class, or a function, told by its one parameter's name."""
        assert isinstance(penstock.as_service(target).handler, kind)

    def test_an_annotation_tells_as_well(self):
        """A parameter annotated as a connection is one, whatever it is called."""

        async def handler(peer: penstock.Connection):
            pass

        assert isinstance(penstock.as_service(handler).handler, ConnectionHandler)

    @pytest.mark.parametrize(
        ("target", "words"),
        [
            (3, "got int"),
            ("text", "got str"),
            (dict, "got the class dict"),
            (Callbacks(), "expected the class Callbacks, got an instance"),
        ],
    )
    def test_anything_else_is_refused(self, target, words):
        """In words that say what it is."""
        with pytest.raises(ApplicationError, match=words):
            penstock.as_service(target)

    def test_another_codec(self):
        """Given as an object or in text; the service itself stays as it was."""
        service = penstock.on_message(message_only)
        other = penstock.as_service(service, codec="netstring")

        assert ("lines", "netstring") == (service.codec.name, other.codec.name)
        with pytest.raises(ConfigurationError, match="netstrin"):
            service.with_codec("netstrin")


def test_a_service_is_its_function_to_a_test():
    """Calling it calls what it was made from."""
    assert b"x" == penstock.on_message(message_only)(b"x")
    assert isinstance(callbacks(Callbacks, name="x")(), Callbacks)


def test_its_name_and_its_summary():
    """The function's own, unless told otherwise; the first line of its documentation."""
    service = penstock.on_message(message_only)
    named = penstock.on_message(name="other", codec="raw")(with_connection)

    assert ("message_only", "Answer one message.") == (service.name, service.summary)
    assert ("other", "") == (named.name, named.summary)
    assert "Keep what was said." == callbacks(Callbacks, name="x").summary


async def test_settled_takes_what_either_kind_returns():
    """A coroutine is awaited, anything else is passed on."""
    assert b"x" == await settled(message_async(b"x"))
    assert b"x" == await settled(b"x")


@pytest.mark.parametrize("name", ["on_mesage", "onMessage", "on_messages", "on_conect", "on_timeuot", "on_closed"])
def test_a_misspelt_callback_is_refused(name):
    """Nothing would ever call it, and a handler that does nothing looks like one that works."""
    kind = type("Sensor", (penstock.Handler,), {name: lambda self, *_: None})
    with pytest.raises(ApplicationError) as caught:
        penstock.as_service(kind)

    assert f"Sensor.{name} is never called; did you mean on_" in str(caught.value)


@pytest.mark.parametrize(
    "members",
    [
        {"on_message": lambda self, conn, message: None, "on_messages": lambda self, messages: None},
        {"close": lambda self: None, "message": lambda self: None, "connect": lambda self: None},
        {"_on_mesage": lambda self: None, "on_mesage": 5, "on_reading": lambda self: None},
    ],
    ids=["beside the callback", "other words", "not public, no function, not near"],
)
def test_what_is_not_misspelt_is_served(members):
    """A class may have methods of its own."""
    assert "Sensor" == penstock.as_service(type("Sensor", (penstock.Handler,), members)).name


@pytest.mark.parametrize(
    "make",
    [
        lambda **timeouts: penstock.on_message(**timeouts)(message_only),
        lambda **timeouts: penstock.on_connection(**timeouts)(conversation),
    ],
)
def test_timeouts_of_a_service_are_a_group_or_options_one_by_one(make):
    """Under the names that they have everywhere; one by one goes before the group."""
    service = make(timeouts={"idle": "1h", "timeout_write": "7s"}, timeout_idle="2m", min_message_rate=None)

    assert {"idle_s": 120.0, "write_s": 7.0, "message_bytes_per_s": None} == timeouts_of(service.timeouts)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout_idel": "5m"}, "timeout_idel is no timeout of a service; did you mean timeout_idle?"),
        ({"backlog": 5}, "backlog is no timeout of a service; the other options are given where it is served"),
        ({"timeout_idle": "5"}, "timeout_idle: '5' is not a duration"),
    ],
)
def test_an_option_that_is_no_timeout_is_no_business_of_a_service(options, problem):
    """It is refused where the decorator stands."""
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        penstock.on_message(**options)(message_only)


class TakesOver(penstock.Handler):
    def on_takeover(self, conn, state):
        pass


class HandsOver(penstock.Handler):
    def on_handover(self, conn):
        pass


class Waits(TakesOver):
    async def on_message(self, conn, message):
        pass


def test_a_class_says_by_on_takeover_that_its_connections_move():
    """Alone it is enough; what would never be called, or may wait, is refused at the start."""
    assert penstock.as_service(TakesOver).handler.handover
    assert not penstock.as_service(penstock.Handler).handler.handover
    with pytest.raises(penstock.ApplicationError, match="on_handover is never called"):
        penstock.as_service(HandsOver)
    with pytest.raises(penstock.ApplicationError, match="only those that are def move"):
        penstock.as_service(Waits)


def test_a_function_that_may_wait_is_not_handed_over():
    """Its connections are in the middle of something when workers are replaced."""
    assert penstock.on_message(handover=True)(lambda message: None).handler.handover
    for options in ({"blocking": True}, {}):
        function = (lambda message: None) if options else _waits
        with pytest.raises(penstock.ApplicationError, match="may wait"):
            penstock.on_message(handover=True, **options)(function)


def test_a_conversation_that_is_handed_over_is_a_coroutine():
    """A thread cannot be begun anew elsewhere."""
    assert penstock.on_connection(handover=True)(_waits).handler.handover
    assert not penstock.on_connection(_waits).handler.handover
    with pytest.raises(penstock.ApplicationError, match="only an async def conversation is handed over"):
        penstock.on_connection(handover=True)(lambda conn: None)


async def _waits(message):
    pass
