"""docs/codecs.md says what is so: its examples are run, its options are compared."""

import doctest
import re
from pathlib import Path

from penstock.codecs import Buffer, describe_codecs

PAGE = Path(__file__).parents[2].joinpath("docs/codecs.md").read_text(encoding="utf-8")


def blocks(language):
    """The code of every fenced block of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_every_example_gives_what_the_page_shows():
    """The wire bytes, the messages and the errors."""
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks("pycon")), {}, "docs/codecs.md", None, 0)
    said = []
    results = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(examples, out=said.append)

    assert (0, len(examples.examples)) == (results.failed, results.attempted), "".join(said)
    assert results.attempted > 25


def test_the_codec_of_ones_own_obeys_every_law():
    """It is defined as the page shows it, and checked by the call that the page shows."""
    names = {}
    for block in blocks("python"):
        exec(compile(block, "docs/codecs.md", "exec"), names)  # the page is ours

    assert b"\x02hello\x03b" == names["Stx"]().encode(b"hello")
    assert b"hello" == names["Stx"]().decode(Buffer(b"\x02hello\x03b"))


def test_every_codec_and_option_is_on_the_page():
    """With its default, where it has one."""
    sections = dict(re.findall(r"^## ([a-z-]+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
    for codec in describe_codecs():
        items = dict(re.findall(r"^- `([a-z-]+)`: (.*?)(?=^- |^$|\Z)", sections[codec.name], re.DOTALL | re.MULTILINE))

        assert [option.name for option in codec.options] == list(items)
        for option in codec.options:
            shown = "required" if option.default is None else option.default
            assert re.search(rf"(?<![\w]){re.escape(shown)}(?![\w])", items[option.name].replace("1 MiB", "1MiB")), (
                option
            )
