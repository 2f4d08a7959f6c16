"""The gate's options: what can be written, and what each mistake is answered with."""

import pytest

from penstock.config import Action, GateConfig
from penstock.config.gate import Access, OnRefusal, actions_of
from penstock.config.kinds import Frequency, Integer, Size, Unless
from penstock.errors import ConfigurationError
from penstock.reasons import Refusal
from penstock.units import Rate


def test_one_word_is_for_every_reason_that_can_have_it():
    """Who is refused for who they are cannot wait, and is reset then."""
    actions = actions_of(("wait",))

    assert Action.WAIT is actions[Refusal.LIMIT]
    cannot = {Refusal.DENIED, Refusal.PER_PEER, Refusal.PEER_RATE, Refusal.SESSIONS, Refusal.PROXY_UNTRUSTED}
    assert cannot == set(Refusal) - set(actions)


def test_a_word_for_one_reason_holds_whatever_is_said_for_all():
    """In any order."""
    expected = dict.fromkeys(Refusal, Action.CLOSE) | {Refusal.LIMIT: Action.WAIT}

    assert expected == actions_of(("close", "limit=wait")) == actions_of(("limit=wait", "close"))


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        (OnRefusal(), "rest", r"'rest' is not one of reset, close, wait; did you mean reset\?"),
        (OnRefusal(), "limits=wait", r"'limits' is not a refusal reason: .*did you mean limit\?"),
        (OnRefusal(), "denied=wait", "a peer refused for denied cannot wait in the backlog"),
        (OnRefusal(), "", "'' is not one of reset, close, wait"),
        (Access(), "example.com", "'example.com' is not a network"),
        (Access(), "@", "'@' names no file"),
        (Frequency(), "100", "'100' is not a rate: write a whole number per s, m, h or d, or none"),
        (Unless(Integer(1, 9)), "0", "0'? is not a whole number from 1 to 9"),
        (Unless(Integer(1, 9)), "auto", "'auto' is not a whole number from 1 to 9"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(kind, text, problem):
    """On the command line, in the environment and in the file alike."""
    with pytest.raises(ConfigurationError, match=problem):
        kind.parse(text)
    with pytest.raises(ConfigurationError):
        kind.from_toml(text)


@pytest.mark.parametrize(
    ("kind", "value", "text", "toml"),
    [
        (Unless(Integer(1, 9), auto=True), 5, "5", "5"),
        (Unless(Integer(1, 9), auto=True), None, "none", '"none"'),
        (Unless(Integer(1, 9), auto=True), "auto", "auto", '"auto"'),
        (Unless(Size()), 65536, "64KiB", '"64KiB"'),
        (Frequency(), Rate(10, 60), "10/m", '"10/m"'),
        (Frequency(), None, "none", '"none"'),
    ],
)
def test_what_is_written_reads_back(kind, value, text, toml):
    """As text and as TOML."""
    assert text == kind.format(value)
    assert value == kind.parse(text)
    assert toml == kind.toml(value)
    kind.check(value)


def test_a_text_that_is_never_sent_is_refused():
    """It would be looked for in vain."""
    with pytest.raises(ConfigurationError, match="refusal_text is never sent"):
        GateConfig(refusal_text="sorry")
    assert "sorry" == GateConfig(refusal_text="sorry", on_refusal=("limit=close",)).refusal_text


@pytest.mark.parametrize("field", ["max_connections", "max_per_peer"])
@pytest.mark.parametrize("value", [0, -1, True, "many", 1.5])
def test_a_limit_is_a_number_auto_or_none(field, value):
    """Zero looks like "off" and would be "nobody"."""
    with pytest.raises(ConfigurationError):
        GateConfig(**{field: value})


def test_a_reserve_where_others_wait_is_refused_by_name():
    """Before anything is opened, and so by `penstock check` too."""
    with pytest.raises(ConfigurationError, match="a reserve does not go together with on_refusal wait"):
        GateConfig(reserve_for=("127.0.0.1",), on_refusal=("limit=wait",))
