"""Sources: the last one wins, every value knows its source, all mistakes are reported at once."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.config import DefaultBind, Option, Text, options
from penstock.config.files import find, read
from penstock.config.sources import ConfigurationErrors, Given, load
from penstock.errors import ConfigurationError, TlsMaterialError

PREFIX = Option(name="prefix", kind=Text(), help="Put that before each message", default="")
FOREIGN = {"prefix": "is an option of echo"}


def sources(settings, *names):
    """Return value and source of each of the options."""
    return [(settings.by_name[name].value, settings.by_name[name].source) for name in names]


def test_each_source_overrides_the_one_before(tmp_path):
    """Defaults, file, environment, command line, in this order; each value says which it came from."""
    (tmp_path / "penstock.toml").write_text("backlog = 1\nthreads = 1\nonce = true\n")
    settings = load(
        options(),
        document=find(tmp_path),
        environ={"PENSTOCK_BACKLOG": "2", "PENSTOCK_THREADS": "2", "HOME": "/"},
        given={"backlog": Given("--backlog", "3"), "model": Given("--one-at-a-time", "one-at-a-time")},
    )

    assert [
        (3, "--backlog"),
        (2, "PENSTOCK_THREADS"),
        (True, "penstock.toml:3"),
        ("one-at-a-time", "--one-at-a-time"),
        ("auto", "default"),
    ] == sources(settings, "backlog", "threads", "once", "model", "engine")
    assert (3, 2, True) == (
        settings.server_config().backlog,
        settings.server_config().threads,
        settings.server_config().once,
    )


def test_relative_paths_in_a_file_are_relative_to_it(tmp_path):
    """Row 45: of Unix sockets and of files of networks; what is absolute, abstract or no path stays."""
    (tmp_path / "penstock.toml").write_text(
        'bind = ["unix:a.sock?mode=0660", "unix+dgram:sub/d.sock", "unix:/b.sock", "unix:@c", "127.0.0.1:9"]\n'
        'deny = ["@deny.txt", "@/etc/deny.txt", "192.0.2.0/24"]\n'
    )
    config = load(options(), document=read(tmp_path / "penstock.toml")).server_config()

    assert (
        f"unix://{tmp_path}/a.sock?mode=0660",
        f"unix+dgram://{tmp_path}/sub/d.sock",
        "unix:/b.sock",
        "unix:@c",
        "127.0.0.1:9",
    ) == config.bind
    assert (f"@{tmp_path}/deny.txt", "@/etc/deny.txt", "192.0.2.0/24") == config.gate.deny


def test_relative_paths_are_relative_to_the_current_directory_everywhere_else(tmp_path, monkeypatch):
    """In the environment, on the command line, and in the file that stands in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "penstock.toml").write_text('bind = "unix:a.sock"\ndeny = "@deny.txt"\n')
    document = find(Path())
    in_file = load(options(), document=document)
    elsewhere = load(options(), document=document, environ={"PENSTOCK_BIND": "unix:b.sock"})

    assert [(("unix:a.sock",), "penstock.toml:1"), (("@deny.txt",), "penstock.toml:2")] == sources(
        in_file, "bind", "deny"
    )
    assert [(("unix:b.sock",), "PENSTOCK_BIND")] == sources(elsewhere, "bind")


def test_a_path_that_its_directory_makes_too_long_is_refused(tmp_path):
    """The address of a Unix socket has room for 107 bytes."""
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    (directory / "penstock.toml").write_text('bind = "unix:a.sock"\n')
    with pytest.raises(ConfigurationErrors, match=r"penstock\.toml:1: bind: "):
        load(options(), document=read(directory / "penstock.toml"))


def test_only_addresses_that_no_source_gave_are_the_default():
    """Sockets that a service manager hands down take the place of those alone, not of the same ones given."""
    unset = load(options()).server_config()
    given = load(options(), given={"bind": Given("--bind", ("tcp://127.0.0.1:9000",))}).server_config()

    assert unset.bind == given.bind
    assert (True, False) == (isinstance(unset.bind, DefaultBind), isinstance(given.bind, DefaultBind))


def test_options_are_read_as_they_were_written():
    """Several addresses, a flag, a size."""
    given = {
        "bind": Given("--bind", ("tcp://127.0.0.1:1", "udp://127.0.0.1:1")),
        "reuse_address": Given("--reuse-address", False),
        "write_high": Given("--write-high", "128KiB"),
    }
    config = load(options(), given=given).server_config()

    assert ("tcp://127.0.0.1:1", "udp://127.0.0.1:1") == config.bind
    assert (False, 131072) == (config.reuse_address, config.limits.write_high_bytes)


def test_an_empty_variable_is_not_set():
    """That is how a compose file passes on what is not there."""

    assert [(1024, "default")] == sources(load(options(), environ={"PENSTOCK_BACKLOG": ""}), "backlog")


def test_all_mistakes_of_all_sources_are_reported_at_once(tmp_path):
    """One line each, with file and line, variable, or option."""
    (tmp_path / "penstock.toml").write_text(
        'backlog = -1\ntimout_idle = "5m"\ntimeout_write = 30\nprefix = "x"\n[timeouts]\nidle = "5m"\n'
    )
    with pytest.raises(ConfigurationErrors) as caught:
        load(
            options(),
            document=find(tmp_path),
            environ={"PENSTOCK_LOG_LEVEL": "loud"},
            given={"threads": Given("--threads", "0"), "prefix": Given("--prefix", "x")},
            foreign=FOREIGN,
        )

    assert [
        "penstock.toml:1: backlog: -1 is not a whole number from 1 to 65535",
        "penstock.toml:2: unknown option 'timout_idle'; did you mean timeout_idle?",
        'penstock.toml:3: timeout_write: expected a duration in quotes ("10s"), got 30',
        "penstock.toml:4: prefix is an option of echo",
        "penstock.toml:5: unknown table 'timeouts': every option has a line of its own, as timeout_idle = …",
        "PENSTOCK_LOG_LEVEL: 'loud' is not one of debug, info, warning, error, critical",
        "--threads: 0 is not a whole number from 1 to 1024",
        "--prefix: is an option of echo",
    ] == str(caught.value).split("\n")
    assert 8 == len(caught.value.errors)
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))


def test_an_unknown_variable_is_a_warning():
    """The environment is shared: what is not ours may be somebody's."""
    settings = load(options(), environ={"PENSTOCK_BAKLOG": "1", "PENSTOCK_CONFIG": "x", "PENSTOCKX": "1"})

    assert ("unknown variable PENSTOCK_BAKLOG ignored; did you mean PENSTOCK_BACKLOG?",) == settings.warnings


def test_a_variable_of_another_service_is_silent():
    """One terminal serves echo now and chat then."""

    assert () == load(options(), environ={"PENSTOCK_PREFIX": "x"}, foreign=FOREIGN).warnings


def test_options_of_a_service_are_options_like_all_others():
    """The server's configuration does not mind them."""
    settings = load([*options(), PREFIX], environ={"PENSTOCK_PREFIX": "Echo=>"})

    assert [("Echo=>", "PENSTOCK_PREFIX")] == sources(settings, "prefix")
    assert 1024 == settings.server_config().backlog


def test_a_contradiction_names_both_sources(tmp_path):
    """Each value alone is fine."""
    (tmp_path / "penstock.toml").write_text('write_low = "1MiB"\n')
    settings = load(options(), document=find(tmp_path), environ={"PENSTOCK_WRITE_HIGH": "32KiB"})
    with pytest.raises(ConfigurationError) as caught:
        settings.server_config()

    assert ("write_low is 1MiB, above PENSTOCK_WRITE_HIGH with 32KiB", "PENSTOCK_WRITE_HIGH, penstock.toml:1") == (
        caught.value.problem,
        ", ".join(sorted(caught.value.where.split(", "))),
    )


def test_a_contradiction_with_a_default_names_the_one_that_was_set():
    """A default has no place to point to."""
    settings = load(options(), given={"bind": Given("--bind", ("unix:a", "unix:a"))})
    with pytest.raises(ConfigurationError) as caught:
        settings.server_config()

    assert "--bind: bind has the same address twice: unix:a" == str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            {"given": {"tls_client_auth": Given("--tls-client-auth", "required")}},
            "--tls-client-auth: --tls-client-auth=required needs a --tls-client-ca, by which to verify what clients "
            "show",
        ),
        (
            {"environ": {"PENSTOCK_TLS_CLIENT_AUTH": "required"}},
            "PENSTOCK_TLS_CLIENT_AUTH: PENSTOCK_TLS_CLIENT_AUTH=required needs a PENSTOCK_TLS_CLIENT_CA, by which to "
            "verify what clients show",
        ),
        (
            {"environ": {"PENSTOCK_SERVICE_A_TLS_CLIENT_AUTH": "required"}, "prefix": "PENSTOCK_SERVICE_A_"},
            "PENSTOCK_SERVICE_A_TLS_CLIENT_AUTH: PENSTOCK_SERVICE_A_TLS_CLIENT_AUTH=required needs a "
            "PENSTOCK_SERVICE_A_TLS_CLIENT_CA, by which to verify what clients show",
        ),
        (
            {"document": 'tls_client_auth = "required"\n'},
            "penstock.toml:1: tls_client_auth=required needs a tls_client_ca, by which to verify what clients show",
        ),
    ],
)
def test_an_option_that_needs_another_one_names_both_as_its_source_writes_them(tmp_path, source, said):
    """A value names no option that is not written so where the value stands."""
    if "document" in source:
        (tmp_path / "penstock.toml").write_text(source["document"])
        source = {"document": replace(find(tmp_path), path="penstock.toml")}
    settings = load(options(), **source)
    with pytest.raises(ConfigurationError) as caught:
        settings.server_config()

    assert said == str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"given": {"tls_cert": Given("--tls-cert", ("a_b",))}}, "--tls-cert: a.tls_cert has no key: give --tls-key"),
        (
            {"environ": {"PENSTOCK_TLS_CERT": "a_b"}},
            "PENSTOCK_TLS_CERT: a.tls_cert has no key: give PENSTOCK_TLS_KEY",
        ),
        ({"document": 'tls_cert = "a_b"\n'}, "penstock.toml:1: tls_cert: a.tls_cert has no key: give tls_key"),
        ({}, "tls_cert: a.tls_cert has no key: give tls_key"),
    ],
)
def test_an_error_that_shows_later_names_the_place_of_its_option(tmp_path, source, said):
    """It keeps its class, by which the exit status goes; a file that is called as an option stays what it is called."""
    if "document" in source:
        (tmp_path / "penstock.toml").write_text(source["document"])
        source = {"document": replace(find(tmp_path), path="penstock.toml")}
    settings = load(options(), **source)
    placed = settings.placed(TlsMaterialError("a.tls_cert has no key: give tls_key", "tls_cert"))

    assert (TlsMaterialError, said) == (type(placed), str(placed))


def test_an_error_that_names_no_option_that_was_set_is_the_same():
    """There is nothing to add."""
    settings = load(options(), given={"tls_cert": Given("--tls-cert", ("a",))})
    error = ConfigurationError("the tls_key is wrong", "model")

    assert error is settings.placed(error)
