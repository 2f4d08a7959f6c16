"""Options in code: one name and one grammar with the command line and TOML."""

import pytest

from penstock import Rate
from penstock.config import GateConfig, Limits, ServerConfig, Timeouts
from penstock.config.keywords import from_keywords
from penstock.config.kinds import AUTO
from penstock.config.options import GROUPS, options, values
from penstock.errors import ConfigurationError


def changed(**given):
    """What differs from the defaults, by option name."""
    config, default = values(from_keywords(given)), values(ServerConfig())
    return {name: value for name, value in config.items() if value != default[name]}


@pytest.mark.parametrize("option", options(), ids=lambda option: option.name)
def test_every_option_takes_its_default_as_text_and_as_a_value(option):
    """The flag's text, and what a field of the configuration holds."""
    assert ServerConfig() == from_keywords({option.name: option.default})
    if option.default not in (None, (), ""):
        text = option.kind.format(option.default)

        assert ServerConfig() == from_keywords({option.name: text})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"timeout_idle": "5s"}, {"timeout_idle": 5.0}),
        ({"timeout_idle": 5}, {"timeout_idle": 5.0}),
        ({"timeout_idle": "none"}, {"timeout_idle": None}),
        ({"timeout_idle": None}, {"timeout_idle": None}),
        ({"max_connections": 5}, {"max_connections": 5}),
        ({"max_connections": "5"}, {"max_connections": 5}),
        ({"max_connections": "none"}, {"max_connections": None}),
        ({"max_connections": "auto"}, {}),
        ({"accept_rate": "100/s"}, {"accept_rate": Rate(100, 1.0)}),
        ({"accept_rate": Rate(7, 1.0)}, {"accept_rate": Rate(7, 1.0)}),
        ({"write_max": "2MiB"}, {"write_max": 2 * 1024**2}),
        ({"write_max": 2000000}, {"write_max": 2000000}),
        ({"uds_mode": "0660"}, {"uds_mode": 0o660}),
        ({"once": True, "access_log": "no"}, {"once": True, "access_log": False}),
        ({"allow": "10.0.0.0/8"}, {"allow": ("10.0.0.0/8",)}),
        ({"allow": ["10.0.0.0/8", "::1"]}, {"allow": ("10.0.0.0/8", "::1")}),
        ({"deny": ("10.1.0.0/16",)}, {"deny": ("10.1.0.0/16",)}),
        ({"bind": "unix:a.sock"}, {"bind": ("unix:a.sock",)}),
        ({"bind": ["tcp://127.0.0.1:1", "udp://127.0.0.1:1"]}, {"bind": ("tcp://127.0.0.1:1", "udp://127.0.0.1:1")}),
        ({"bind": None}, {}),
        ({"host": "0.0.0.0"}, {"bind": ("tcp://0.0.0.0:9000",)}),
        ({"port": 0}, {"bind": ("tcp://127.0.0.1:0",)}),
        ({"host": "::1", "port": 7}, {"bind": ("tcp://[::1]:7",)}),
        ({"host": "localhost", "port": 7}, {"bind": ("tcp://localhost:7",)}),
        ({"port": "7"}, {"bind": ("tcp://127.0.0.1:7",)}),
        ({"host": None, "port": None}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_an_option_takes_what_the_command_line_and_toml_take(given, meant):
    """Text as it is typed, or the value itself."""

    assert meant == changed(**given)


def test_without_bind_nobody_asked_for_an_address():
    """So the sockets of a service manager take the default's place; an address that was asked for stays."""
    assert type(ServerConfig().bind) is type(from_keywords({}).bind)
    assert tuple is type(from_keywords({"host": "127.0.0.1"}).bind)


def test_a_whole_group_may_be_given_and_one_of_its_options_beside_it():
    """What is given by name replaces the field."""
    config = from_keywords(
        {"timeouts": Timeouts(idle_s=1.0, write_s=2.0), "timeout_write": "3s", "limits": Limits(), "write_max": "2MiB"}
    )

    assert Timeouts(idle_s=1.0, write_s=3.0) == config.timeouts
    assert Limits(write_max_bytes=2 * 1024**2) == config.limits
    assert GateConfig(max_connections=AUTO) == config.gate


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"max_conections": 5}, "unknown option 'max_conections'; did you mean max_connections?"),
        ({"timeout_idel": "5m"}, "unknown option 'timeout_idel'; did you mean timeout_idle?"),
        ({"prot": 9000}, "unknown option 'prot'; did you mean port?"),
        ({"timeout_idle": "5x"}, "timeout_idle: '5x' is not a duration"),
        ({"timeout_idle": True}, "timeout_idle: expected a number of seconds or None, got True"),
        ({"max_connections": "many"}, "max_connections: 'many' is not a whole number"),
        (
            {"model": "thread"},
            "model: 'thread' is not one of loop, threads, one-at-a-time, process; did you mean threads?",
        ),
        ({"bind": []}, "bind: at least one is needed"),
        ({"bind": 9000}, "bind: expected text, got 9000"),
        ({"allow": [5]}, "allow: expected text, got 5"),
        ({"host": "a", "bind": "tcp://b:1"}, "bind: host and port are a short form of bind: leave them out"),
        ({"port": "http"}, "port: expected a whole number from 0 to 65535, got 'http'"),
        ({"port": 70000}, "port: "),
        ({"host": ""}, "host: expected a host name or an address, got ''"),
        ({"timeouts": 5}, "ServerConfig.timeouts: expected Timeouts, got int"),
        ({"timeouts": 5, "timeout_idle": 5}, "ServerConfig.timeouts: expected Timeouts, got int"),
    ],
    ids=str,
)
def test_a_mistake_is_named_and_what_is_near_suggested(given, text):
    """Nothing is started."""
    with pytest.raises(ConfigurationError) as caught:
        from_keywords(given)

    assert str(caught.value).startswith(text)


def test_a_group_is_no_name_of_an_option():
    """Or one would hide the other."""
    assert set() == set(GROUPS) & {option.name for option in options()}


def test_some_options_of_a_group_by_their_names():
    """What the group's name says already can be left out; beside it the option's own name goes before."""
    config = from_keywords({"timeouts": {"idle": "10m", "timeout_write": 5.0}, "limits": {"write_high": "128KiB"}})

    assert (600.0, 5.0, 30.0) == (config.timeouts.idle_s, config.timeouts.write_s, config.timeouts.message_s)
    assert 128 * 1024 == config.limits.write_high_bytes
    assert 1.0 == from_keywords({"timeouts": {"idle": "10m"}, "timeout_idle": "1s"}).timeouts.idle_s


def test_an_option_that_a_group_has_not_is_refused():
    """With the nearest that it has."""
    with pytest.raises(ConfigurationError, match=r"timeouts: unknown option 'idel'; did you mean idle\?"):
        from_keywords({"timeouts": {"idel": "10m"}})
    with pytest.raises(ConfigurationError, match="limits: unknown option 'backlog'"):
        from_keywords({"limits": {"backlog": 5}})
