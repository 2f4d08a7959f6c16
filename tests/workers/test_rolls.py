"""Rolls, one after the other and in the middle of each other: who has asked for which, and what each is told."""

import asyncio
import queue
from types import SimpleNamespace

import pytest

from penstock.config import WorkersConfig
from penstock.errors import ConfigurationError
from penstock.workers.plan import WorkersPlan
from penstock.workers.rolls import Rolls

from .conftest import PATIENCE_S


def plan(count=1):
    return WorkersPlan(WorkersConfig(count=count))


class Stage:
    """Rolls of one worker, which serves when a test says so; a configuration is read when it is given here."""

    def __init__(self):
        self.told = []
        self.may_begin = True
        self.is_current = False
        self.configurations = queue.Queue()
        self.settled = asyncio.Queue()
        self.crew = SimpleNamespace(
            slots=[1], leaving=[], begin_anew=self.begin_anew, are_current=lambda _: self.is_current
        )
        self.rolls = Rolls(
            plan(),
            self.reread,
            self.crew,
            settle=lambda: self.settled.put_nowait(self.rolls.generation),
            may_begin=lambda: self.may_begin,
            on_roll=self.told.append,
        )

    def begin_anew(self):
        self.is_current = False

    def reread(self):
        found = self.configurations.get(timeout=PATIENCE_S)
        if isinstance(found, Exception):
            raise found
        return found

    async def ask(self):
        """Ask for a roll; return what waits for its outcome."""
        asked = asyncio.get_running_loop().create_task(self.rolls.outcome())
        await asyncio.sleep(0)
        return asked

    async def start_workers(self, configuration):
        """Have a configuration read; return once there is a generation that goes by it."""
        self.configurations.put(configuration)
        return await self.settled.get()

    def all_serve(self):
        """The worker of the newest generation serves."""
        self.rolls.worker_serves(self.rolls.generation)
        self.is_current = True
        self.rolls.check_over()


@pytest.fixture
async def stage():
    """A stage whose roll, if one is left, is given up at the end."""
    set_up = Stage()
    yield set_up
    set_up.configurations.put(ConfigurationError("the test is over"))
    set_up.rolls.cancel()


async def test_who_asks_while_a_bad_configuration_is_read_is_told_of_the_roll_that_follows(stage):
    """The file was mended before that was asked: its own roll reads it, and succeeds."""
    first, second = await stage.ask(), await stage.ask()
    stage.configurations.put(ConfigurationError("no number"))
    with pytest.raises(ConfigurationError, match="no number"):
        await first
    assert 1 == await stage.start_workers(plan())
    stage.all_serve()

    assert "1 worker of generation 1 serves" == await second


async def test_who_asks_before_the_first_worker_serves_is_told_of_the_roll_that_follows(stage):
    """That reads a newer file, and may fail where the one before has not."""
    first = await stage.ask()
    await stage.start_workers(plan())
    second = await stage.ask()
    stage.all_serve()
    assert "1 worker of generation 1 serves" == await first
    stage.configurations.put(ConfigurationError("no number"))

    with pytest.raises(ConfigurationError, match="no number"):
        await second


@pytest.mark.parametrize("fails", ["configuration", "code"])
async def test_a_roll_goes_on_when_one_that_came_in_the_middle_of_it_fails(stage, fails):
    """Its first worker serves, others do not yet: who asked for it is told when they do."""
    first = await stage.ask()
    await stage.start_workers(plan())
    stage.rolls.worker_serves(1)
    second = await stage.ask()
    if fails == "configuration":
        stage.configurations.put(ConfigurationError("no number"))
    else:
        assert 2 == await stage.start_workers(plan())
        stage.rolls.go_back("ended with status 3")
    with pytest.raises(ConfigurationError, match=r"no number|status 3"):
        await second
    assert (True, False) == (stage.rolls.is_rolling, first.done())
    stage.all_serve()

    assert "1 worker of generation 1 serves" == await first
    assert [True, True, False] == stage.told


async def test_a_roll_that_comes_in_the_middle_of_another_one_is_what_both_are_told_of(stage):
    """The newer code serves those who asked for the older."""
    first = await stage.ask()
    await stage.start_workers(plan())
    stage.rolls.worker_serves(1)
    second = await stage.ask()
    await stage.start_workers(plan())
    stage.all_serve()

    assert ["1 worker of generation 2 serves"] * 2 == [await first, await second]


@pytest.mark.parametrize("found", [plan(), ConfigurationError("no number")], ids=["good", "bad"])
async def test_the_end_of_the_server_is_the_end_of_its_roll(stage, found):
    """Whatever is read then: nothing begins, no service manager is told that it serves, and who asks is refused."""
    first, second = await stage.ask(), await stage.ask()
    stage.may_begin = False
    stage.rolls.server_ends()
    stage.configurations.put(found)
    await stage.rolls._task

    for asked in (first, second):
        with pytest.raises(ConfigurationError, match="the server ends"):
            await asked
    with pytest.raises(ConfigurationError, match="there is no roll now"):
        await stage.rolls.outcome()
    assert ([True], False, 0) == (stage.told, stage.rolls.is_rolling, stage.rolls.generation)


async def test_the_number_that_was_set_while_a_roll_may_be_given_up_holds(stage):
    """It was acknowledged: whichever plan is gone by, it has that number."""
    stage.rolls.begin()
    await stage.start_workers(plan(2))
    stage.rolls.scale(5)
    assert 5 == stage.rolls.plan.config.number
    stage.rolls.go_back("ended with status 3")

    assert 5 == stage.rolls.plan.config.number


async def test_the_number_that_was_set_while_the_configuration_is_read_holds(stage):
    """What was asked for last is what is done."""
    stage.rolls.begin()
    stage.rolls.scale(5)
    await stage.start_workers(plan(2))

    assert 5 == stage.rolls.plan.config.number


async def test_a_number_that_is_refused_changes_nothing(stage):
    """Neither plan."""
    with pytest.raises(ConfigurationError):
        stage.rolls.scale(0)

    assert 1 == stage.rolls.plan.config.number
