"""What mypy and pyright say of code that uses the package: of right code nothing, of mistakes what is expected."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MISTAKES, HANDLERS = HERE / "mistakes.py", HERE / "handlers.py"
CHECKERS = ("mypy", "pyright")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*command):
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, timeout=280)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Of each checker, for each file: the line and the name of every error, each once."""
    cache = tmp_path_factory.mktemp("mypy")
    found = {}
    mypy = run("mypy", "--strict", "--cache-dir", str(cache), str(MISTAKES), str(HANDLERS))
    lines = re.findall(r"^(.+?):(\d+): error: .* \[([\w-]+)\]$", mypy.stdout, re.MULTILINE)
    found["mypy"] = {(Path(path).name, int(line), name) for path, line, name in lines}
    pyright = run("pyright", "--outputjson", "--pythonpath", sys.executable, str(MISTAKES), str(HANDLERS))
    found["pyright"] = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["rule"])
        for each in json.loads(pyright.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    }
    return found


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
