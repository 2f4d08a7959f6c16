"""The shape of the tree: layers import one way, tests mirror the source, public names are where they say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import penstock

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "penstock"

# From the bottom to the top: a module may import from its own layer and from those before it. DESIGN section 4.
LAYERS = [
    {"reasons", "errors", "units", "suggest", "config", "address"},
    {"codecs"},
    {"core"},
    {"engines"},
    {"server", "client", "telemetry"},
    {"services", "load"},
    {"cli", "__main__"},
]
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}
# The package's front door and the tests' tools may import all; nothing imports them.
ABOVE_ALL = {"__init__", "testing"}

# What only types need is not a dependency of the running program.
TYPING_ONLY = "TYPE_CHECKING"


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path):
    """Yield (line, part) for every import of this package that runs, written relatively or not."""
    package = ["penstock", *path.relative_to(PACKAGE).parent.parts]
    for node in running_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [*base, *(node.module or "").split(".")] if node.module else base
            if names[:1] == ["penstock"]:
                for found in [names[1]] if len(names) > 1 else [alias.name for alias in node.names]:
                    yield node.lineno, found
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "penstock" and len(parts) > 1:
                    yield node.lineno, parts[1]


def running_nodes(tree):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == TYPING_ONLY:
            continue
        yield node
        yield from running_nodes(node)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_layer_and_those_below(path):
    """Import direction is one way, also inside functions."""
    part = part_of(path)
    if part in ABOVE_ALL:
        return
    too_high = [
        f"{path.relative_to(ROOT)}:{line} imports {found}"
        for line, found in imported_parts(path)
        if found in ABOVE_ALL or LEVEL.get(found, 0) > LEVEL[part]
    ]

    assert [] == too_high


def test_every_part_of_the_package_has_its_layer():
    """A new directory has to say where it stands."""
    parts = {part_of(path) for path in modules()}

    assert set(LEVEL) | ABOVE_ALL == parts


def test_server_and_client_do_not_know_each_other():
    """They share a layer and nothing else."""
    for path in modules():
        part = part_of(path)
        found = {name for _, name in imported_parts(path)}
        if part == "client":
            assert "server" not in found, path
        if part == "server":
            assert "client" not in found, path


def test_the_bottom_layers_do_no_input_or_output():
    """Codecs and core never import what reads, writes or tells time."""
    forbidden = {"asyncio", "socket", "select", "selectors", "threading", "time", "ssl"}
    for path in modules():
        if part_of(path) not in {"codecs", "core"}:
            continue
        for node in running_nodes(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [(node.module or "").split(".")[0]]

            assert set() == forbidden & set(names), f"{path}:{node.lineno}"


# Tests of what several modules do together, or of a page of the documentation.
OF_THE_WHOLE = {
    "cli/test_outside.py",
    "codecs/test_reference.py",
    "services/test_discard_chargen_qotd.py",
    "services/test_outside.py",
    "services/test_services.py",
}


def test_every_test_stands_where_its_module_does():
    """tests/a/test_b.py tests src/penstock/a/b.py, or the package a/b."""
    mirrored = {"address", "codecs", "core", "server", "client", "services", "cli", "config", "telemetry", "load"}
    strays = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        relative = path.relative_to(ROOT / "tests")
        if relative.parts[0] not in mirrored:
            continue
        name = relative.name.removeprefix("test_").removesuffix(".py")
        target = PACKAGE.joinpath(*relative.parent.parts, name)
        if not (target.with_suffix(".py").exists() or target.is_dir()):
            strays.append(str(relative))

    assert sorted(OF_THE_WHOLE) == strays


def test_every_public_name_can_be_imported_from_the_package():
    """What __all__ promises is there, and is what its home has."""
    assert sorted(penstock._HOME_OF) == sorted(set(penstock.__all__) - {"__version__"})
    for name, home in penstock._HOME_OF.items():
        value = getattr(penstock, name)
        module = sys.modules[f"penstock.{home}"]

        assert getattr(module, name) is value


def test_importing_the_package_imports_nothing_heavy():
    """`import penstock` costs next to nothing: what a program does not use it does not wait for."""
    script = (
        "import sys, penstock; print(sorted({'asyncio', 'click', 'msgspec', 'socket', 'logging'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "[]\n" == done.stdout


def test_an_unknown_public_name_is_an_attribute_error():
    """The lazy module says what any module says."""
    with pytest.raises(AttributeError, match=r"module 'penstock' has no attribute 'serv'"):
        penstock.serv  # noqa: B018
