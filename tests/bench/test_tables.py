"""The tables in code agree with each other: scenarios, contestants, rows."""

import pytest

from bench import contestants, rows, scenarios

LIMITS = [limit for row in rows.ROWS for limit in row.limits]


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_s_contestants_exist_and_can_frame_its_messages(scenario):
    """And its yardsticks take part in it."""
    for key in scenario.contestants:
        assert {scenario.framing, "any"} & contestants.BY_KEY[key].framings, key

    assert set(scenario.yardsticks) <= set(scenario.contestants)
    assert len(set(scenario.contestants)) == len(scenario.contestants)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.scenario}-{limit.contestant}-{limit.yardstick}")
def test_a_limit_speaks_of_what_is_measured(limit):
    """Its contestant and its yardstick take part in its scenario, and the yardstick is one there."""
    scenario = scenarios.BY_NAME[limit.scenario]

    assert limit.contestant in scenario.contestants
    assert (
        limit.yardstick is None
        or limit.yardstick in scenario.yardsticks
        or (limit.contestant, limit.yardstick) in scenario.pairs
    )


@pytest.mark.parametrize("scenario", [each for each in scenarios.SCENARIOS if each.pairs], ids=lambda each: each.name)
def test_everybody_of_a_scenario_in_pairs_is_in_one(scenario):
    """Who is in none would never be measured."""
    assert scenario.contestants == tuple(key for pair in scenario.pairs for key in pair)


def test_names_are_unique():
    """A key or a name means one thing."""
    assert len(contestants.CONTESTANTS) == len(contestants.BY_KEY)
    assert len(scenarios.SCENARIOS) == len(scenarios.BY_NAME)


def test_every_contestant_takes_part_somewhere():
    """No server is kept that nothing measures."""
    taking_part = {key for scenario in scenarios.SCENARIOS for key in scenario.contestants}

    assert contestants.BY_KEY.keys() == taking_part
