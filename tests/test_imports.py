"""What a program loads: one that is run often, as a command is, starts with what it uses and waits for nothing else."""

import re
import subprocess
import sys

import pytest

import penstock
from penstock.testing.thread import ServerThread

IMPORTED = re.compile(r"^import time:[^|]*\|[^|]*\| +([\w.]+)$", re.MULTILINE)

# What only a server needs, and what only those need who ask for it.
OF_SERVERS = (
    "penstock.app",
    "penstock.config.services",
    "penstock.core.gate",
    "penstock.core.service",
    "penstock.engines.accept",
    "penstock.engines.blocking",
    "penstock.engines.loop.answering",
    "penstock.engines.loop.push",
    "penstock.engines.loop.server",
    "penstock.engines.loop.tasks",
    "penstock.engines.loop.threaded",
    "penstock.engines.native",
    "penstock.engines.plan",
    "penstock.groups",
    "penstock.server",
    "penstock.services",
    "penstock.telemetry",
    "penstock.workers",
)
OF_KEPT_CONNECTIONS = ("penstock.client.persistent", "penstock.client.pool", "penstock.client.endpoint")
OF_FEW = (
    "importlib.metadata",
    "logging.config",
    "msgspec",
    "penstock.load",
    "penstock.testing",
    "prompt_toolkit",
    "rich",
    "tomllib",
)


@penstock.on_message(codec="raw")
def echo(message):
    return message


def modules_of(*arguments):
    """Run the program; return what it printed and the modules it loaded."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(IMPORTED.findall(done.stderr))

    assert "penstock" in loaded
    return done.stdout, loaded


def among(loaded, unwanted):
    """Those of the loaded modules that are unwanted, or within a package that is."""
    return sorted(name for name in loaded if any(name == other or name.startswith(f"{other}.") for other in unwanted))


def test_import_penstock_loads_two_modules():
    """Each public name is imported when it is first used."""
    _, loaded = modules_of("-c", "import penstock")

    assert ["penstock", "penstock.lazy"] == among(loaded, ["penstock"])
    assert [] == among(loaded, ["asyncio", "click", "logging", "msgspec", "socket", "ssl"])


def test_a_message_is_sent_without_what_serves():
    """`penstock send` is run once a message: no gate, no driver of handlers, no pool, no other engine is loaded."""
    with ServerThread(echo, bind="tcp://127.0.0.1:0") as server:
        printed, loaded = modules_of("-m", "penstock", "send", server.address, "hello")

    assert "hello" == printed
    assert [] == among(loaded, (*OF_SERVERS, *OF_KEPT_CONNECTIONS, *OF_FEW))


@pytest.mark.parametrize("command", ["send", "connect"])
def test_the_help_of_a_client_loads_no_engine(command):
    """What is only asked for is not made ready."""
    printed, loaded = modules_of("-m", "penstock", command, "--help")

    assert printed.startswith(f"Usage: penstock {command}")
    assert [] == among(loaded, ("penstock.client", "penstock.engines", *OF_SERVERS, *OF_FEW))


def test_the_help_of_a_server_loads_no_client_and_no_engine_that_serves():
    """The options of a server need what checks them."""
    printed, loaded = modules_of("-m", "penstock", "serve", "--help")

    assert printed.startswith("Usage: penstock serve")
    assert [] == among(
        loaded,
        (
            "penstock.client",
            "penstock.engines.blocking",
            "penstock.engines.loop",
            "penstock.engines.native",
            "penstock.engines.pure",
            *OF_FEW,
        ),
    )
