"""What mypy and pyright say of code that uses the package: of right code nothing, of mistakes what is expected."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MISTAKES, HANDLERS, SHOWN = HERE / "mistakes.py", HERE / "handlers.py", HERE / "shown.py"
CHECKERS = ("mypy", "pyright")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*command):
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, timeout=280)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """What each checker prints of the three files."""
    files = (str(MISTAKES), str(HANDLERS), str(SHOWN))
    cache = tmp_path_factory.mktemp("mypy")
    return {
        "mypy": run("mypy", "--strict", "--cache-dir", str(cache), *files),
        "pyright": run("pyright", "--outputjson", "--pythonpath", sys.executable, *files),
    }


@pytest.fixture(scope="module")
def said(output):
    """Of each checker, for each file: the line and the name of every error, each once."""
    found = {}
    mypy = output["mypy"]
    lines = re.findall(r"^(.+?):(\d+): error: .* \[([\w-]+)\]$", mypy.stdout, re.MULTILINE)
    found["mypy"] = {(Path(path).name, int(line), name) for path, line, name in lines}
    found["pyright"] = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["rule"])
        for each in json.loads(output["pyright"].stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    }
    return found


@pytest.fixture(scope="module")
def shown(output):
    """Of each checker: the line and the type of all that is revealed, without the modules of its names."""
    lines = re.findall(r'shown\.py:(\d+): note: Revealed type is "(.*)"', output["mypy"].stdout)
    told = [
        (each["range"]["start"]["line"] + 1, re.sub(r'^Type of ".*" is "(.*)"$', r"\1", each["message"]))
        for each in json.loads(output["pyright"].stdout)["generalDiagnostics"]
        if each["severity"] == "information" and Path(each["file"]).name == SHOWN.name
    ]
    found = {"mypy": [(int(line), kind) for line, kind in lines], "pyright": told}
    return {who: {line: re.sub(r"(?:\w+\.)+", "", kind) for line, kind in each} for who, each in found.items()}


def expected(checker):
    """What the comments of the mistakes say."""
    return {
        (MISTAKES.name, number, match[1])
        for number, line in enumerate(MISTAKES.read_text().splitlines(), 1)
        if (match := re.search(rf"# mistake:.*\b{checker} ([\w-]+)", line))
    }


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_mistake_is_found_and_nothing_else(said, checker):
    """Each on its line and by its name; the handlers that are right have none."""
    assert len(re.findall("# mistake:", MISTAKES.read_text())) == len(expected(checker))
    assert expected(checker) == said[checker]


@pytest.mark.parametrize("checker", CHECKERS)
def test_hover_shows_types(shown, checker):
    """Of what is served, connected, received and sent, where nobody has written a type."""
    lines = enumerate(SHOWN.read_text().splitlines(), 1)
    expected = {number: match[1] for number, line in lines if (match := re.search(r"# shows: (.+)", line))}

    assert SHOWN.read_text().count("reveal_type(") == len(expected)
    assert expected == shown[checker]


def test_a_name_of_a_codec_says_what_its_messages_are():
    """As the codec of that name does; each that needs no option is named."""
    from typing import get_args

    from penstock.codecs import describe_codecs, parse_codec
    from penstock.codecs.names import BytesCodecName, JsonCodecName, MsgpackCodecName, TextCodecName

    named = {codec.name: codec for codec in describe_codecs() if all(o.default is not None for o in codec.options)}
    kinds = {name: parse_codec(name).message_type for name in named}

    assert {name for name, kind in kinds.items() if kind is bytes} == set(get_args(BytesCodecName))
    assert {name for name, kind in kinds.items() if kind is str} == set(get_args(TextCodecName))
    assert {"json-lines", "json", "msgpack"} == {*get_args(JsonCodecName), *get_args(MsgpackCodecName)}
