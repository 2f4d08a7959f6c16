"""What was compiled from another source than the one beside it decides nothing."""

import ast
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import penstock
from penstock.core.law import fresh

PACKAGE = Path(penstock.__file__).parent
ROOT = Path(__file__).parents[3]

needs_compiled = pytest.mark.skipif(not fresh.compiled(), reason="no law is compiled here")


@pytest.fixture
def copy(tmp_path):
    """The package, to be changed, beside whatever is installed."""
    return shutil.copytree(PACKAGE, tmp_path / "penstock", ignore=shutil.ignore_patterns("__pycache__"))


def run(copy, program):
    """Return what a program prints that imports the copy."""
    environment = {"PYTHONPATH": str(copy.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_is_compiled_here_is_what_the_sources_say():
    """Build again after a change: pip install -e ."""
    assert [] == fresh.stale()


def test_setup_compiles_every_law():
    """One list here, one in setup.py, which must not import the package that it builds."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    assigned = {it.targets[0].id: it.value for it in tree.body if isinstance(it, ast.Assign)}

    assert fresh.NAMES == ast.literal_eval(assigned["LAW_NAMES"])
    assert {path.stem for path in fresh.COMPILED.glob("*.pxd")} == set(fresh.NAMES)


def test_engines_in_python_run_the_sources():
    """Whether or not something was compiled: one that lay beside its source would be imported instead of it."""
    beside = [path.name for suffix in EXTENSION_SUFFIXES for path in fresh.SOURCES.glob(f"*{suffix}")]
    program = "import penstock.core.law.rate as rate; print(rate.__file__)"

    assert [] == beside
    assert str(fresh.SOURCES / "rate.py") == run(PACKAGE, program)


@needs_compiled
@pytest.mark.parametrize("name", ["law/output.py", "compiled_law/deadlines.pxd"])
def test_the_native_engine_is_not_loaded_over_an_older_law(copy, name):
    """It says why, as where it was not built: ``--engine auto`` serves with the pure one, by the new law."""
    with (copy / "core" / name).open("a") as file:
        file.write("# another\n")
    told = run(copy, "from penstock.server.choice import native_missing; print(native_missing())")

    assert f"the compiled law is older than its source: {Path(name).stem}; build it again: pip install -e ." in told
    assert told.startswith("the native engine does not load (")


@needs_compiled
def test_the_native_engine_is_not_loaded_over_an_incomplete_law(copy):
    """A law that could not be compiled, or was lost."""
    for suffix in EXTENSION_SUFFIXES:
        (copy / "core/compiled_law" / f"rate{suffix}").unlink(missing_ok=True)
    told = run(copy, "from penstock.server.choice import native_missing; print(native_missing())")

    assert "the compiled law is not complete" in told
