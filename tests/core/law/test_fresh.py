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


def test_what_is_compiled_here_is_what_the_sources_say():
    """Build again after a change: pip install -e ."""
    assert [] == fresh.stale()


def test_setup_compiles_every_law():
    """One list here, one in setup.py, which must not import the package that it builds."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    assigned = {it.targets[0].id: it.value for it in tree.body if isinstance(it, ast.Assign)}

    assert fresh.NAMES == ast.literal_eval(assigned["LAW_NAMES"])
    assert {path.stem for path in fresh.FOLDER.glob("*.pxd")} == set(fresh.NAMES)


@needs_compiled
@pytest.mark.parametrize("name", ["output.py", "deadlines.pxd"])
def test_an_older_one_is_replaced_by_the_source_and_a_warning_says_so(tmp_path, name):
    """Whichever law it is, all run from their sources: they inherit each other."""
    copy = shutil.copytree(PACKAGE, tmp_path / "penstock", ignore=shutil.ignore_patterns("__pycache__", "native"))
    with (copy / "core" / "law" / name).open("a") as file:
        file.write("# another\n")
    program = (
        "import penstock.core.law.rate as rate, penstock.core.law as law; print(rate.__file__, law.closing.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert [str(copy / "core" / "law" / f"{law}.py") for law in ("rate", "closing")] == done.stdout.split()
    assert f"older than its source: {name.split('.')[0]}" in done.stderr


@needs_compiled
def test_the_native_engine_is_not_loaded_over_an_older_law(tmp_path):
    """It says why, as where it was not built: ``--engine auto`` serves with the pure one."""
    copy = shutil.copytree(PACKAGE, tmp_path / "penstock", ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "core" / "law" / "rate.py").open("a") as file:
        file.write("# another\n")
    program = "from penstock.server.choice import native_missing; print(native_missing())"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("the native engine does not load (the compiled law is older than its source")


@needs_compiled
def test_an_incomplete_set_is_not_mixed_with_sources(tmp_path):
    """A law that could not be compiled, or was lost."""
    copy = shutil.copytree(PACKAGE, tmp_path / "penstock", ignore=shutil.ignore_patterns("__pycache__", "native"))
    for suffix in EXTENSION_SUFFIXES:
        (copy / "core" / "law" / f"rate{suffix}").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", "import penstock.core.law.closing as law; print(law.__file__)"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert str(copy / "core" / "law" / "closing.py") == done.stdout.strip()
    assert "not complete" in done.stderr
