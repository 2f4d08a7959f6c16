"""Services and codecs that other packages bring, by the entry points of their metadata."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from penstock.codecs import Lines, parse_codec
from penstock.errors import ConfigurationError
from penstock.installed import Installed, find_installed, installed

FLEET = """
import penstock
from penstock.codecs import Lines
from penstock.codecs.octets import require_range

class GT06(Lines):
    "Trackers."
    name = "gt06"

    def __init__(self, *, sum_bytes: int = 2) -> None:
        super().__init__()
        self.sum_bytes = require_range("sum_bytes", sum_bytes, 1)

made = GT06(sum_bytes=4)

@penstock.on_message(codec=made)
def tracker(message: bytes) -> bytes:
    return message.upper()

no_codec = 3
"""


@pytest.fixture
def package(tmp_path):
    """A function that installs a package into a directory, which it returns."""

    def install(name, codecs="", services="", source=""):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        sections = f"[penstock.codecs]\n{codecs}\n\n[penstock.services]\n{services}\n"
        (info / "entry_points.txt").write_text(textwrap.dedent(sections))
        return tmp_path

    return install


@pytest.fixture
def fleet(package, monkeypatch):
    """A package with a codec class, a codec, a service, and what is none of these."""
    lines = "gt06 = fleet:GT06\ngt06-made = fleet:made\nlines = fleet:GT06\nbroken = fleet:no_codec\ngone = fleet:gone"
    directory = package("fleet", lines, "tracker = fleet:tracker\necho = fleet:tracker", FLEET)
    monkeypatch.syspath_prepend(directory)
    monkeypatch.delitem(sys.modules, "fleet", raising=False)
    yield directory
    sys.modules.pop("fleet", None)


def test_they_are_listed_without_being_imported(fleet):
    """From their metadata alone."""
    assert [
        Installed("echo", "fleet:tracker", "fleet 1.0"),
        Installed("tracker", "fleet:tracker", "fleet 1.0"),
    ] == installed("services")
    assert "fleet" not in sys.modules
    assert find_installed("codecs", "none") is None


def test_a_codec_goes_by_its_name_and_takes_its_options(fleet):
    """As one of ours does; a name that is ours stays ours."""
    assert (2, 5) == (parse_codec("gt06").sum_bytes, parse_codec("gt06:sum-bytes=5").sum_bytes)
    assert 4 == parse_codec("gt06-made").sum_bytes
    assert Lines is type(parse_codec("lines"))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("gt06:sum=5", r"codec gt06 has no option 'sum'; did you mean sum-bytes\? \(it has sum-bytes\)"),
        ("gt06:sum-bytes=0", "codec gt06: sum_bytes"),
        ("gt06-made:x=1", "codec gt06-made is made already, and takes no options"),
        ("broken", r"broken of the package fleet 1\.0 is not a codec: fleet:no_codec is no Codec"),
        ("gone", r"gone of the package fleet 1\.0: cannot load fleet:gone: AttributeError"),
        ("gt60", r"no codec is called 'gt60'; did you mean gt06\?"),
    ],
)
def test_what_is_wrong_with_one_is_said_with_its_package(fleet, spec, problem):
    """And nothing else is tried."""
    with pytest.raises(ConfigurationError, match=problem):
        parse_codec(spec)


def test_a_name_of_two_packages_is_refused(fleet, package):
    """With both: which one was meant cannot be known. Neither is imported, and both are listed."""
    package("other", "gt06 = other:GT06", "tracker = other:tracker")
    with pytest.raises(ConfigurationError, match=r"fleet 1\.0 and other 1\.0 both bring 'gt06' in penstock\.codecs"):
        parse_codec("gt06")
    served = run(fleet, "check", "tracker")

    assert not {"fleet", "other"} & set(sys.modules)
    assert ["fleet 1.0", "other 1.0"] == [found.package for found in installed("services") if found.name == "tracker"]
    assert 2 == served.returncode
    assert "fleet 1.0 and other 1.0 both bring 'tracker' in penstock.services" in served.stderr


def run(directory, *arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "penstock", *arguments],
        env=os.environ | {"PYTHONPATH": str(directory)},
        cwd=cwd or directory.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_line_lists_them_with_their_packages(fleet):
    """A name that is one of ours is said to be."""
    text = " ".join(run(fleet, "services").stdout.split())
    data = json.loads(run(fleet, "services", "--json").stdout)

    assert "tracker Of the package fleet 1.0: fleet:tracker." in text
    assert "lines Of the package fleet 1.0: fleet:GT06. Only as fleet:GT06: the name is Penstock's own." in text
    assert {"name": "gt06", "package": "fleet 1.0", "place": "fleet:GT06"} in data["codecs"]


def test_a_service_is_served_by_its_name(fleet, tmp_path):
    """Under that name, over its own codec or another one; before a module of that name in the current directory."""
    served = tmp_path / "work"
    served.mkdir()
    (served / "tracker.py").write_text("raise RuntimeError")
    own = run(fleet, "check", "tracker", cwd=served)
    other = run(fleet, "check", "tracker", "--codec", "lines", cwd=served)
    classic = run(fleet, "check", "echo", cwd=served)  # which the package brings, too: ours stays

    assert "ok: tracker over gt06 on tcp://127.0.0.1:9000\n" == own.stdout
    assert "serving fleet 1.0's service tracker, not tracker.py, which `penstock serve tracker.py` serves" in own.stderr
    assert "ok: tracker over lines on tcp://127.0.0.1:9000\n" == other.stdout
    assert "ok: echo over raw on tcp://127.0.0.1:9000\n" == classic.stdout


def test_a_file_that_lies_in_the_directory_imports_no_package(fleet, tmp_path):
    """A codec that it names is another's code: it is not run to look at it."""
    (tmp_path / "penstock.toml").write_text('codec = "gone"')
    looked = run(fleet, "check", "echo", cwd=tmp_path)

    assert (0, "ok: echo over raw on tcp://127.0.0.1:9000\n") == (looked.returncode, looked.stdout)
    assert "the codec gone is not looked at" in looked.stderr
