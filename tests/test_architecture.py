"""The shape of the tree: layers import one way, tests mirror the source, public names are where they say."""

import ast
import re
import sys
from pathlib import Path

import pytest

import penstock

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "penstock"

# From the bottom to the top: a module may import from its own layer and from those before it.
LAYERS = [
    {"reasons", "errors", "units", "suggest", "installed", "lazy", "config", "address"},
    {"codecs"},
    {"core"},
    {"adapters"},
    {"engines"},
    {"server", "client", "telemetry"},
    {"app", "groups", "services", "load", "control", "workers"},
    {"cli", "__main__"},
]
LEVEL = {name: level for level, layer in enumerate(LAYERS) for name in layer}
# The package's front door and the tests' tools may import all; nothing imports them.
ABOVE_ALL = {"__init__", "testing"}

# An import of Cython: ``cimport`` too, and several lines of names between parentheses.
COMPILED = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+c?import[ \t]+(\([^()]*\)|[^#\n]*)|c?import[ \t]+([\w.]+))", re.MULTILINE
)


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def sources():
    """What is Python, what is compiled, and what the compiler or a type checker reads beside it."""
    return sorted(path for kind in ("py", "pyi", "pyx", "pxd") for path in PACKAGE.rglob(f"*.{kind}"))


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].partition(".")[0]


def imported_names(path):
    """Yield (line, full dotted name) for every import of this package, also in functions and for types only."""
    package = ["penstock", *path.relative_to(PACKAGE).parent.parts]
    text = path.read_text()
    if path.suffix in (".pyx", ".pxd"):
        found = [
            (text.count("\n", 0, match.start()) + 1, len(match[1] or ""), match[2] or match[4] or "", match[3] or "")
            for match in COMPILED.finditer(text)
        ]
        found = [(line, level, module, re.findall(r"(\w+)(?: as \w+)?", names)) for line, level, module, names in found]
    else:
        found = []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                found.append((node.lineno, node.level, node.module or "", [alias.name for alias in node.names]))
            elif isinstance(node, ast.Import):
                found += [(node.lineno, 0, alias.name, []) for alias in node.names]
    for line, level, module, names in found:
        base = package[: len(package) - level + 1] if level else []
        whole = [*base, *filter(None, module.split("."))]
        if whole[:1] == ["penstock"]:
            for name in names or [None]:
                yield line, ".".join([*whole, *([name] if name else [])])


def imported_parts(path):
    """Yield (line, part) for every import of this package."""
    for line, name in imported_names(path):
        if "." in name:
            yield line, name.split(".")[1]


def test_what_compiled_code_imports_is_read():
    """A cimport, an import, names in parentheses, and what only a declaration needs."""
    found = {name for _, name in imported_names(PACKAGE / "load/native/connections.pyx")}
    declared = {name for _, name in imported_names(PACKAGE / "load/native/connections.pxd")}

    assert {
        "penstock.load.native.clock.Alarm",
        "penstock.engines.native.system.epoll_wait",
        "penstock.errors.ProtocolError",
    } <= found
    assert {"penstock.load.native.replies.Replies"} <= declared


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_layer_and_those_below(path):
    """Import direction is one way: in functions, in compiled code, and for types too."""
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


# What a client asks of an engine, and facts about sockets that are no engine's.
OF_CLIENTS = {
    "aside",
    "base",
    "client",
    "datagram_errors",
    "datagram_socket",
    "datagram_wire",
    "link",
    "listener",
    "registry",
    "tls",
    "wire",
}


def test_a_client_knows_no_engine_from_inside():
    """It hands a connected socket to `Engine.connect`, and has a connection."""
    known = {
        name.split(".")[2]
        for path in sources()
        if part_of(path) == "client"
        for _, name in imported_names(path)
        if name.startswith("penstock.engines.")
    }

    assert set() == known - OF_CLIENTS


# Each of these moves bytes in a way of its own; what two of them need stands beside them.
ENGINES = {"pure", "native", "blocking"}


def test_an_engine_knows_no_other_engine():
    """What two engines share is neither's."""
    found = []
    for path in sources():
        parts = path.relative_to(PACKAGE).parts
        if parts[0] != "engines" or parts[1] not in ENGINES:
            continue
        for line, name in imported_names(path):
            other = name.split(".")[2] if name.startswith("penstock.engines.") else ""
            if other in ENGINES - {parts[1]}:
                found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")

    assert [] == found


def test_no_engine_asks_what_kind_of_handler_it_calls():
    """How one is called is chosen when the plan is made; what differs from kind to kind is a method of the kind."""
    asked = re.compile(r"isinstance\([^()]*\b(?:Message|Connection|Callback)Handler\b|\btype\(\w*handler\)")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sources()
        if part_of(path) == "engines"
        for match in asked.finditer(path.read_text())
    ]

    assert [] == found


def test_the_bottom_layers_do_no_input_or_output():
    """Codecs and core never import what reads, writes or tells time."""
    forbidden = {"asyncio", "socket", "select", "selectors", "threading", "time", "ssl"}
    for path in modules():
        if part_of(path) not in {"codecs", "core"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [(node.module or "").split(".")[0]]

            assert set() == forbidden & set(names), f"{path}:{node.lineno}"


# Tests of what several modules do together, or of a page of the documentation.
OF_THE_WHOLE = {
    "adapters/test_cpython.py",
    "adapters/test_exceptions.py",
    "adapters/test_features.py",
    "adapters/test_outside.py",
    "adapters/test_surroundings.py",
    "adapters/test_tutorials.py",
    "adapters/test_turns.py",
    "app/test_signals.py",
    "cli/test_outside.py",
    "cli/test_process_options.py",
    "client/test_both_ways.py",
    "client/test_datagrams.py",
    "client/test_native.py",
    "client/test_on_full.py",
    "client/test_silence.py",
    "client/test_sync_datagrams.py",
    "client/test_switching.py",
    "client/test_turns.py",
    "codecs/test_reference.py",
    "engines/blocking/test_calls_within_calls.py",
    "engines/native/test_faults.py",
    "engines/native/test_foreign_code.py",
    "engines/native/test_sources.py",
    "engines/tls/test_never_in_clear.py",
    "engines/tls/test_start_tls.py",
    "engines/tls/test_start_tls_meanwhile.py",
    "engines/tls/test_unsent.py",
    "server/forking/test_laws.py",  # what a peer sees of a connection that has a process
    "services/test_discard_chargen_qotd.py",
    "services/test_outside.py",
    "services/test_services.py",
    "workers/test_across.py",
    "workers/test_at_full_size.py",
    "workers/test_bounds.py",
    "workers/test_descriptors.py",
    "workers/test_foreign.py",
    "workers/test_half_started.py",
    "workers/test_handing_faults.py",
    "workers/test_left_addresses.py",
    "workers/test_limits.py",
    "workers/test_one_worker.py",
    "workers/test_serving.py",
}


def test_every_test_stands_where_its_module_does():
    """tests/a/test_b.py tests src/penstock/a/b.py, or the package a/b."""
    mirrored = {*LEVEL, "testing"}
    strays = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        relative = path.relative_to(ROOT / "tests")
        if relative.parts[0] not in mirrored:
            continue
        name = relative.name.removeprefix("test_").removesuffix(".py")
        target = PACKAGE.joinpath(*relative.parent.parts, name)
        if not (target.is_dir() or any(target.with_suffix(kind).exists() for kind in (".py", ".pyx"))):
            strays.append(str(relative))

    assert sorted(OF_THE_WHOLE) == strays


NAMES_A_TEST = re.compile(r"\btests/[\w/]+(?:\.py)?\b(?![*\w])")
NAMING_TESTS = [
    "Makefile",
    "README.md",
    "CONTRIBUTING.md",
    ".ci/run",
    "pyproject.toml",
    "tools/**/*",
    "docs/**/*.md",
    "bench/**/*.py",
]


def test_every_test_that_a_command_or_a_page_names_is_there():
    """A test file that moves takes along the commands of the Makefile and the pages that name it."""
    files = [
        path
        for pattern in NAMING_TESTS
        for path in ROOT.glob(pattern)
        if path.suffix in ("", ".md", ".py", ".sh", ".toml") and path.is_file()
    ]

    lost = [
        (path.relative_to(ROOT).as_posix(), name)
        for path in files
        for name in NAMES_A_TEST.findall(path.read_text())
        if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()
    ]

    assert [] == lost


def test_every_test_of_full_size_is_run_by_a_command():
    """What is marked ``full`` is in no other run: a target of the Makefile names its file or a directory above it."""
    runs = re.findall(r'-m (?:full|"full or not full") ([^$\n]+)', (ROOT / "Makefile").read_text())
    named = [ROOT / name for run in runs for name in run.split()]
    marked = [path for path in sorted((ROOT / "tests").rglob("*.py")) if re.search(r"\bmark\.full\b", path.read_text())]

    assert marked
    assert [] == [path for path in marked if not any(path.is_relative_to(name) for name in named)]


def test_every_public_name_can_be_imported_from_the_package():
    """What __all__ promises is there, and is what its home has."""
    assert sorted(penstock._HOME_OF) == sorted(set(penstock.__all__) - {"__version__"})
    for name, home in penstock._HOME_OF.items():
        value = getattr(penstock, name)
        module = sys.modules[f"penstock.{home}"]

        assert getattr(module, name) is value


def test_an_unknown_public_name_is_an_attribute_error():
    """The lazy module says what any module says."""
    with pytest.raises(AttributeError, match=r"module 'penstock' has no attribute 'serv'"):
        penstock.serv  # noqa: B018


def test_the_places_that_the_internals_name_are_there():
    """docs/internals.md says where things happen: each file exists, and each method is one of its class."""
    page = (ROOT / "docs" / "internals.md").read_text()
    sources = "\n".join(path.read_text() for kind in ("py", "pyx") for path in sorted(PACKAGE.rglob(f"*.{kind}")))
    files = set(re.findall(r"`([a-z_/]+/[a-z_]+\.pyx?)`", page))
    methods = set(re.findall(r"`([A-Z]\w+)\.(\w+)`", page))

    assert [] == sorted(name for name in files if not ((PACKAGE / name).exists() or (ROOT / name).exists()))
    assert [] == sorted(
        f"{kind}.{method}"
        for kind, method in methods
        if not re.search(rf"class {kind}\b(?:(?!\n(?:cdef )?class ).)*?\b{method}\b", sources, re.DOTALL)
    )
    assert files
    assert methods
