"""How a configuration is shown: as a file that configures the same, and in the documentation."""

import tomllib
from pathlib import Path

from penstock.config import options
from penstock.config.rendering import render_settings, update_table
from penstock.config.sources import ORDER, Given, load

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_every_value_is_shown_with_its_source():
    """One line each, after the order in which sources override each other."""
    text = render_settings(load(options(), environ={"PENSTOCK_TIMEOUT_IDLE": "90s"}))
    lines = {line.partition(" ")[0]: line for line in text.splitlines()}

    assert text.startswith(f"# {ORDER}\n")
    assert ['timeout_idle = "90s"', "PENSTOCK_TIMEOUT_IDLE"] == [
        part.strip() for part in lines["timeout_idle"].split("  # ")
    ]
    assert ['bind = ["tcp://127.0.0.1:9000"]', "default"] == [part.strip() for part in lines["bind"].split("  # ")]
    assert "# codec is not set" in text


# Those without a value: they stand in a comment.
UNSET = (
    "codec",
    "log_config",
    "tls_client_ca",
    "tls_crl",
    "tls_ciphers",
    "uds_owner",
    "pid_file",
    "user",
    "group",
    "chdir",
    "process_name",
    "control",
)


def test_what_is_shown_configures_the_same():
    """The output of ``--print-config`` is a configuration file."""
    given = {"bind": Given("--bind", ('unix:/tmp/"a"',)), "uds_mode": Given("--uds-mode", "0660")}
    before = load(options(), given=given)
    table = tomllib.loads(render_settings(before))
    read = {option.name: option.kind.from_toml(table[option.name]) for option in options() if option.name in table}

    assert {name: setting.value for name, setting in before.by_name.items() if name not in UNSET} == read


def test_the_table_in_the_documentation_is_the_generated_one():
    """``make docs-tables`` makes it."""
    page = DOCUMENT.read_text(encoding="utf-8")

    assert update_table(page, options()) == page
    assert all(f"`{option.variable}`" in page for option in options())
