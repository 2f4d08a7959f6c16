"""Every law meets every engine, in every form of a handler that it serves: the fixtures are `penstock.testing`'s."""

import pytest

import penstock
from penstock.testing.engines import EngineUnderTest
from penstock.testing.fixtures import pytest_configure, pytest_generate_tests, serve
from penstock.testing.forms import Form

from ..combinations import ENGINE, leave_to_combinations

__all__ = ["pytest_configure", "pytest_generate_tests", "serve"]


# uvloop differs from the pure engine, an attached engine from the native one, in what moves bytes and tells time. The
# drivers are the same, and so are the layers: of all handlers, one that is called at once and one that is a task are
# tried there. The other ones, and what a layer is told, are in make combinations.
TWINS = ("uvloop", "attached")
ON_TWINS = ("def-message-conn", "async-connection")
# So are the laws of what messages mean, what handlers may do and raise, and what is queued: none is of bytes or time.
OF_MESSAGES = frozenset(
    {
        "test_background_tasks",
        "test_bad_messages",
        "test_classic_mistakes",
        "test_codec_errors",
        "test_codecs_by_direction",
        "test_codecs_of_ones_own",
        "test_counts",
        "test_ends_in_own_code",
        "test_framing_that_changes",
        "test_groups",
        "test_handlers_as_tasks",
        "test_handshakes",
        "test_law_02_closed_event",
        "test_law_06_every_exception",
        "test_law_06_told_of_the_peer",
        "test_lifespans",
        "test_null_replies",
        "test_on_full",
        "test_post_frame",
        "test_recursion_limit",
        "test_refused_by_handlers",
        "test_requests",
        "test_requests_and_ends",
        "test_requests_unreceived",
        "test_reserve",
        "test_switching",
        "test_wrong_replies",
    }
)


def is_one_of_many(item, params):
    """Say whether a test is left to make combinations."""
    engine, form = params.get("engine"), params.get("form")
    if not isinstance(engine, EngineUnderTest):
        return False
    if not isinstance(form, Form):
        form = None
    if not engine.label.startswith(TWINS):
        # Whether a handler takes its connection is decided by the plan, which Python's engines have in common.
        return form is not None and not form.has_conn and engine.name != ENGINE
    of_messages = item.path.parent.name == "conformance" and item.path.stem in OF_MESSAGES
    return engine.tapped or of_messages or (form is not None and form.label not in ON_TWINS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    leave_to_combinations(items, is_one_of_many)


@pytest.fixture
def tally(figure):
    """A function that adds to a count; the sums are printed with the figures."""

    def add(label, count):
        if label not in _SUMS:
            _SUMS[label] = [0, figure]
        _SUMS[label][0] += count

    return add


_SUMS = {}


def pytest_sessionfinish():
    for label, (count, figure) in _SUMS.items():
        figure(f"{label}: {count}")
    _SUMS.clear()


@pytest.fixture
def converse(engine):
    """Make a service of a generator that yields what it receives and sends: awaited where there is a loop."""

    def make(script, codec="lines", **options):
        async def on_loop(conn):
            steps = script(conn)
            waited = next(steps, None)
            while waited is not None:
                try:
                    result = await waited
                except Exception as error:
                    waited = _next(steps.throw, error)
                else:
                    waited = _next(steps.send, result)

        def in_thread(conn):
            steps = script(conn)
            _, result = None, next(steps, steps)
            while result is not steps:
                result = _next(steps.send, result, steps)

        handler = in_thread if engine.name == "blocking" else on_loop
        return penstock.on_connection(codec=codec, **options)(handler)

    return make


def _next(step, given, end=None):
    try:
        return step(given)
    except StopIteration:
        return end
