"""What is said of one service of an application, wherever it is said."""

from types import MappingProxyType

import pytest

from penstock.config import options
from penstock.config.files import read
from penstock.config.services import (
    OfServices,
    Sources,
    ambiguous_variables,
    prefix_of,
    settings_of,
    split,
    unknown_variables,
)
from penstock.config.sources import ConfigurationErrors, Given, load
from penstock.errors import ConfigurationError

FILE = """
timeout_idle = "1m"
timeout_write = "1s"

[service.admin]
timeout_idle = "2m"
bind = "unix:file.sock"
"""


@pytest.fixture
def document(tmp_path):
    """A function that reads a file."""

    def write(text):
        path = tmp_path / "penstock.toml"
        path.write_text(text)
        return read(path)

    return write


def settled(sources, *, names=("tracker", "admin"), defaults=None, own_workers=MappingProxyType({})):
    """The settings of each service, as the command line comes to them."""
    general, special = split(sources)
    settings = load(options(), given=general.given, environ=general.environ, document=general.document)
    defaults = defaults or {name: {} for name in names}
    return settings_of(names, options(), settings, special, defaults, own_workers=own_workers)


def test_a_later_source_wins_over_one_that_is_more_precise(document):
    """Code, then the file, the environment, the command line; within each, what is said of one before what of all."""
    defaults = {"tracker": {"timeout_idle": 1.0, "timeout_drain": 1.0}, "admin": {"timeout_message": 3.0}}
    environ = {"PENSTOCK_SERVICE_ADMIN_TIMEOUT_WRITE": "4s", "PENSTOCK_TIMEOUT_WRITE": "3s"}
    given = {"timeout_lifetime": Given("--timeout-lifetime", "tracker=5h")}
    found = settled(Sources(given, environ, document(FILE)), defaults=defaults)

    def seen(service, name):
        setting = found[service].by_name[name]
        return setting.value, setting.source.rpartition("/")[2]

    assert (60.0, "penstock.toml:2") == seen("tracker", "timeout_idle")
    assert (120.0, "penstock.toml:6") == seen("admin", "timeout_idle")
    assert (3.0, "PENSTOCK_TIMEOUT_WRITE") == seen("tracker", "timeout_write")
    assert (4.0, "PENSTOCK_SERVICE_ADMIN_TIMEOUT_WRITE") == seen("admin", "timeout_write")
    assert (5 * 3600.0, "--timeout-lifetime tracker=") == seen("tracker", "timeout_lifetime")
    assert (None, "default") == seen("admin", "timeout_lifetime")
    assert (1.0, "code") == seen("tracker", "timeout_drain")
    assert (3.0, "code") == seen("admin", "timeout_message")


def test_several_addresses_are_shared_out():
    """Each goes to the service it names; what names none is for all."""
    given = {"bind": Given("--bind", ("admin=unix:a", "tracker=tcp://127.0.0.1:1", "admin=unix:b"))}
    general, special = split(Sources(given))
    found = settled(Sources(given))

    assert {} == general.given
    assert {"admin", "tracker"} == set(special.given)
    assert ("unix:a", "unix:b") == found["admin"].by_name["bind"].value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("on_refusal", ("denied=close",)),  # a reason of a refusal, not a service
        ("refusal_text", "admin=you are not welcome"),  # a text of the user's
        ("allow", ("@networks=old.txt",)),
        ("bind", ("unix:a=b.sock",)),
    ],
)
def test_what_only_looks_like_a_service_is_for_all(name, text):
    """It means what it means for a single function."""
    given = {name: Given("--x", text)}

    assert (given, {}) == (split(Sources(given))[0].given, split(Sources(given))[1].given)


def test_of_two_names_the_longer_one_has_the_variable():
    """``a`` and ``a_b``: both could have PENSTOCK_SERVICE_A_B_BIND."""
    environ = {f"{prefix_of('a_b')}BIND": "unix:x"}
    found = settled(Sources(environ=environ), names=("a", "a_b"))

    assert (("unix:x",), "default") == (found["a_b"].by_name["bind"].value, found["a"].by_name["bind"].source)


def test_services_whose_variables_are_written_the_same_way_are_told_of():
    """``a-b`` and ``a_b``: one has the variable, and the other's absence is no surprise."""
    special = split(Sources(environ={f"{prefix_of('a_b')}BIND": "unix:x", f"{prefix_of('c')}BIND": "unix:y"}))[1]
    told = ambiguous_variables(("a-b", "a_b", "c"), special)

    assert ["PENSTOCK_SERVICE_A_B_BIND was taken for a-b's; variables of a_b are written the same way"] == told


def test_all_mistakes_are_told_at_once(document):
    """A service that is not there, a value, an option of the whole process: each with its place."""
    given = {"backlog": Given("--backlog", "amdin=5"), "log_level": Given("--log-level", "admin=debug")}
    text = '[service.admin]\nbacklog = "many"\n[service.nobody]\n'
    with pytest.raises(ConfigurationErrors) as caught:
        settled(Sources(given, {}, document(text)))
    told = [str(error).rpartition("/")[2] for error in caught.value.errors]

    assert [
        "--backlog amdin=: there is no service 'amdin'; did you mean admin?",
        "penstock.toml:3: there is no service 'nobody'; there are tracker, admin",
        "penstock.toml:2: backlog: 'many' is not a whole number from 1 to 65535",
        "--log-level admin=: is of the whole process, not of one service",
    ] == told


def test_services_have_tables(document):
    """A value under ``service`` that is none is refused with its line."""
    with pytest.raises(
        ConfigurationError, match=r"penstock.toml:1: expected a table for each service: \[service.NAME\]"
    ):
        split(Sources(document=document('service = "admin"\n')))


def test_a_pyproject_has_them_below_its_table(tmp_path):
    """``[tool.penstock.service.admin]``, with the right lines."""
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.penstock]\nbacklog = 5\n\n[tool.penstock.service.admin]\nbacklog = 6\n")
    found = settled(Sources(document=read(path)))
    setting = found["admin"].by_name["backlog"]

    assert (6, "pyproject.toml:5") == (setting.value, setting.source.rpartition("/")[2])


def test_variables_of_no_service_are_told():
    """They may be another program's: that is no error."""
    special = OfServices(environ={"PENSTOCK_SERVICE_ADMIN_BIND": "unix:x", "PENSTOCK_SERVICE_WEB_BIND": "unix:y"})

    assert ["PENSTOCK_SERVICE_WEB_BIND"] == unknown_variables(["admin"], special)


def test_of_one_service_workers_says_that_one_of_them_has_it(document):
    """It is no number of the whole process's: neither takes the place of the other, whichever source it comes from."""
    text = "workers = 3\n[service.admin]\nworkers = 1\n"
    given = {"workers": Given("--workers", "4", ("tracker=none",))}
    found = settled(Sources(given, {}, document(text)), own_workers={"tracker": 1})
    other = settled(Sources(environ={f"{prefix_of('tracker')}WORKERS": "1", "PENSTOCK_WORKERS": "2"}))

    assert (4, 1) == (found["tracker"].by_name["workers"].value, found["admin"].by_name["workers"].value)
    assert (1, 2) == (other["tracker"].by_name["workers"].value, other["admin"].by_name["workers"].value)


def test_one_worker_is_the_only_number_that_a_service_can_have(document):
    """More than one and fewer than all would be a promise of which, which nothing keeps."""
    given = {"workers": Given("--workers", None, ("admin=2",))}
    with pytest.raises(ConfigurationErrors) as caught:
        settled(Sources(given, {}, document('[service.tracker]\nworkers = "auto"\n')))
    told = [str(error).rpartition("/")[2].partition(": for a service")[0] for error in caught.value.errors]

    assert ["penstock.toml:2: workers = 'auto'", "--workers admin=: workers = 2"] == told
