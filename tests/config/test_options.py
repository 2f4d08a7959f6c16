"""The options: checked when they are made, flat outside, grouped inside, described once."""

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config import (
    GateConfig,
    Limits,
    Option,
    OverloadConfig,
    ProcessConfig,
    ServerConfig,
    TcpConfig,
    Timeouts,
    TlsConfig,
    WorkersConfig,
    build,
    options,
)
from penstock.errors import ConfigurationError, ExitStatus


def refusal(make):
    """Return the error that ``make`` ends with, as where and problem."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    return caught.value.where, caught.value.problem


def test_the_defaults_are_those_of_the_documentation():
    """A server that is told nothing listens on this machine alone, with every protecting timeout on."""
    config = ServerConfig()

    assert ("tcp://127.0.0.1:9000",) == config.bind
    assert Timeouts(10.0, 10.0, 300.0, 30.0, 30.0, None, 25.0, 2.0) == config.timeouts
    assert Limits(65536, 16384, 1048576, 262144, 256, "disconnect") == config.limits
    assert ("loop", "auto", 1024, True, 0o600, False) == (
        config.model,
        config.engine,
        config.backlog,
        config.reuse_address,
        config.uds_mode,
        config.once,
    )


@pytest.mark.parametrize(
    ("make", "where", "problem"),
    [
        (lambda: Timeouts(idle_s=-1), "Timeouts.idle_s", "-1 seconds is not from 0 to 315360000"),
        (lambda: Timeouts(idle_s=0), "Timeouts.idle_s", "0 would end everything at once; none turns it off"),
        (lambda: Timeouts(idle_s="5m"), "Timeouts.idle_s", "expected a number of seconds or None, got '5m'"),
        (lambda: Timeouts(idle_s=True), "Timeouts.idle_s", "expected a number of seconds or None, got True"),
        (lambda: Timeouts(idle_s=float("nan")), "Timeouts.idle_s", "nan seconds is not from 0 to 315360000"),
        (lambda: Timeouts(idle_s=float("inf")), "Timeouts.idle_s", "inf seconds is not from 0 to 315360000"),
        (lambda: Limits(read_bytes=0), "Limits.read_bytes", "0 is not a size from 1 to 64MiB"),
        (lambda: Limits(read_bytes=1.5), "Limits.read_bytes", "expected a whole number of bytes, got 1.5"),
        (
            lambda: Limits(batch_messages=0),
            "Limits.batch_messages",
            "0 is not a whole number from 1 to 1000000",
        ),
        (
            lambda: Limits(write_low_bytes=70_000),
            "Limits.write_low_bytes",
            "write_low is 70kB, above write_high with 64KiB",
        ),
        (
            lambda: Limits(write_high_bytes=2**21),
            "Limits.write_high_bytes",
            "write_high is 2MiB, above write_max with 1MiB",
        ),
        (lambda: ServerConfig(backlog=-1), "ServerConfig.backlog", "-1 is not a whole number from 1 to 65535"),
        (lambda: ServerConfig(threads=True), "ServerConfig.threads", "True is not a whole number from 1 to 1024"),
        (
            lambda: ServerConfig(model="thread"),
            "ServerConfig.model",
            "'thread' is not one of loop, threads, one-at-a-time, process; did you mean threads?",
        ),
        (
            lambda: ServerConfig(model=None),
            "ServerConfig.model",
            "None is not one of loop, threads, one-at-a-time, process",
        ),
        (lambda: ServerConfig(once=1), "ServerConfig.once", "1 is not true or false"),
        (
            lambda: ServerConfig(uds_mode=0o1777),
            "ServerConfig.uds_mode",
            "1023 is not permissions in octal from 0000 to 0777: write 0o600",
        ),
        (lambda: ServerConfig(bind="tcp://x:1"), "ServerConfig.bind", "expected a tuple, got 'tcp://x:1'"),
        (lambda: ServerConfig(bind=()), "ServerConfig.bind", "at least one is needed"),
        (lambda: ServerConfig(bind=(9000,)), "ServerConfig.bind", "expected text, got 9000"),
        (lambda: ServerConfig(codec=3), "ServerConfig.codec", "expected text, got 3"),
        (lambda: ServerConfig(codec="a\0"), "ServerConfig.codec", "'a\\x00' has a NUL character in it"),
        (
            lambda: ServerConfig(timeouts=Limits()),
            "ServerConfig.timeouts",
            "expected Timeouts, got Limits",
        ),
        (
            lambda: ServerConfig(bind=("tcp://127.0.0.1:1", "127.0.0.1:1")),
            "ServerConfig.bind",
            "bind has the same address twice: tcp://127.0.0.1:1 and 127.0.0.1:1",
        ),
        (
            lambda: ServerConfig(bind=("unix:x", "unix:x")),
            "ServerConfig.bind",
            "bind has the same address twice: unix:x",
        ),
        (
            lambda: Timeouts().merged(idle=1),
            "Timeouts",
            "unknown name idle; known are handshake_s, first_message_s, idle_s, message_s, write_s, lifetime_s, "
            "drain_s, linger_s, message_bytes_per_s, after_close_s, receive_idle_s, drain_spread_s",
        ),
    ],
)
def test_a_wrong_value_is_refused_when_the_object_is_made(make, where, problem):
    """The error names the field, the value, and what is allowed; its exit status is that of usage."""
    assert (where, problem) == refusal(make)
    assert ExitStatus.USAGE == ConfigurationError.exit_status


@pytest.mark.parametrize("text", ["tcp://x:99999", "tcp://x:abc", "nonsense://x", ""])
def test_an_address_is_refused_with_the_configuration(text):
    """A malformed address is no matter of opening a socket."""
    where, problem = refusal(lambda: ServerConfig(bind=(text,)))

    assert "ServerConfig.bind" == where
    assert problem.startswith(f"{text!r} is not an address: ")


def test_port_0_may_be_asked_for_twice():
    """Each time the system chooses another one."""
    config = ServerConfig(bind=("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"))

    assert 2 == len(config.bind)


def test_waits_may_be_zero_and_timeouts_may_be_off():
    """Zero is "not at all" for a wait; None is "never" everywhere."""
    timeouts = Timeouts(None, None, None, None, None, None, drain_s=0, linger_s=0)

    assert (None, 0, 0) == (timeouts.idle_s, timeouts.drain_s, timeouts.linger_s)


def test_a_configuration_never_changes():
    """It is shared by threads and connections without a lock."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        ServerConfig().backlog = 5


def test_merging_gives_a_copy():
    """Named fields are replaced, the others kept, the original untouched."""
    before = Timeouts()
    after = before.merged(idle_s=1.5, lifetime_s=60)

    assert (1.5, 60, before.write_s) == (after.idle_s, after.lifetime_s, after.write_s)
    assert Timeouts() == before


def test_a_configuration_survives_pickling():
    """It travels to other processes."""
    config = ServerConfig(model="threads", timeouts=Timeouts(idle_s=None))

    assert config == pickle.loads(pickle.dumps(config))


def test_every_field_has_an_option_and_every_name_is_its_own():
    """Flags, variables and keys come from one list without gaps or clashes."""
    groups = (
        ServerConfig,
        GateConfig,
        Timeouts,
        Limits,
        OverloadConfig,
        TcpConfig,
        TlsConfig,
        ProcessConfig,
        WorkersConfig,
    )
    fields = [field for cls in groups for field in dataclasses.fields(cls) if "group" not in field.metadata]
    names = [option.name for option in options()]

    assert sorted(names) == sorted(field.metadata["option"].name for field in fields)
    assert len(names) == len(set(names))
    assert all(option.help and not option.help.endswith(".") for option in options())


@pytest.mark.parametrize(
    "option", [option for option in options() if option.default_text is None], ids=lambda option: option.name
)
def test_what_an_option_shows_as_its_default_reads_back_as_its_default(option):
    """``--print-config`` and the documentation write values as every source reads them."""

    assert option.default == option.kind.parse(option.kind.format(option.default))


def test_one_name_gives_the_flag_the_variable_and_the_key():
    """`Timeouts.idle_s` is ``--timeout-idle``, ``PENSTOCK_TIMEOUT_IDLE`` and ``timeout_idle``."""
    option = next(option for option in options() if option.name == "timeout_idle")

    assert ("--timeout-idle", "PENSTOCK_TIMEOUT_IDLE", "5m") == (option.flag, option.variable, option.default_shown)


def test_building_puts_flat_values_into_their_groups():
    """What is missing keeps its default."""
    config = build({"timeout_idle": 5.0, "write_high": 2**17, "backlog": 7, "unheard_of": 1})

    assert ServerConfig(timeouts=Timeouts(idle_s=5.0), limits=Limits(write_high_bytes=2**17), backlog=7) == config


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.none() | st.text() | st.booleans())
def test_a_timeout_is_a_finite_positive_number_or_none(value):
    """Whatever is given, what is accepted can be waited for."""
    try:
        timeouts = Timeouts(idle_s=value)
    except ConfigurationError:
        return

    assert timeouts.idle_s is None or 0 < timeouts.idle_s <= 3650 * 86400


def test_an_option_is_the_same_when_made_again():
    """Options are values."""
    option = options()[0]

    assert option == Option(**{field.name: getattr(option, field.name) for field in dataclasses.fields(Option)})


@pytest.mark.parametrize("path", ["tcp://127.0.0.1:1", "unix:c.sock", "@name", ""])
def test_a_control_socket_is_a_path(path):
    """No address: it is never over the network, and an abstract name has no permissions."""
    with pytest.raises(ConfigurationError, match="is not the path of a Unix socket, or auto"):
        ProcessConfig(control=path)


def test_a_control_socket_in_a_file_is_beside_that_file(tmp_path):
    """As every path is; auto is no path."""
    kind = next(option.kind for option in options() if option.name == "control")

    assert (str(tmp_path / "c.sock"), "auto") == (kind.beside("c.sock", tmp_path), kind.beside("auto", tmp_path))


def test_the_words_of_help_are_understood_at_once():
    """The fact first, in the field's words; those that were riddles once, as they are now."""
    help_of = {each.name: each.help for each in options()}

    assert {
        "peer_prefix_ipv4": "Count IPv4 clients per prefix of this length",
        "peer_prefix_ipv6": "Count IPv6 clients per prefix of this length",
        "accept_rate": "Accept at most RATE new connections, e.g. 100/s",
        "allow": "Allow only these networks (longest prefix wins)",
    }.items() <= help_of.items()


@pytest.mark.parametrize(
    "riddle", ["so many", "that many", "nobody", "whoever", "leading bits", "for one that", "for want of", "in common"]
)
def test_no_help_is_a_riddle(riddle):
    """Words of which a reader has to make sense first are in none."""
    assert [] == [each.name for each in options() if riddle in each.help.lower()]
