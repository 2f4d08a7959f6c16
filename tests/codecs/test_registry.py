"""Codec specs: codecs and their options in text."""

import subprocess
import sys

import pytest

from penstock import Buffer
from penstock.codecs import CodecOption, describe_codecs, parse_codec
from penstock.errors import ConfigurationError

NAMES = [
    "raw",
    "lines",
    "text",
    "delimited",
    "gap",
    "length-prefixed",
    "varint",
    "netstring",
    "fixed",
    "struct",
    "json-lines",
    "json",
    "msgpack",
    "cbor",
    "resp",
]


class TestParsing:
    """From a spec to a codec."""

    @pytest.mark.parametrize("name", [name for name in NAMES if name not in ("delimited", "fixed", "struct")])
    def test_a_name_alone_is_the_codec_with_its_defaults(self, name):
        """The codec says the same name."""

        assert name == parse_codec(name).name

    @pytest.mark.parametrize(
        ("spec", "attributes"),
        [
            ("raw:max=4KiB", {"max_frame_bytes": 4096}),
            ("lines:max=1KiB", {"max_frame_bytes": 1024, "newline": "lf", "keep_cr": False}),
            ("lines:newline=crlf,unterminated=deliver", {"newline": "crlf", "unterminated": "deliver"}),
            ("lines:keep-cr=yes", {"keep_cr": True}),
            (r"delimited:delimiter=\r\n\r\n", {"delimiter": b"\r\n\r\n"}),
            (r"delimited:delimiter=\0\t\xFf\\\,é", {"delimiter": b"\0\t\xff\\,\xc3\xa9"}),
            ("delimited:delimiter==:=,max=7", {"delimiter": b"=:=", "max_frame_bytes": 7}),
            ("delimited:delimiter=\udcff", {"delimiter": b"\xff"}),  # a byte of the command line that is no UTF-8
            ("length-prefixed:size=2,byteorder=little", {"size": 2, "byteorder": "little"}),
            ("length-prefixed:adjustment=-4,offset=1,header=keep", {"adjustment": -4, "offset": 1, "header": "keep"}),
            ("fixed:size=1KiB", {"size": 1024, "max_frame_bytes": 1024}),
            ("struct:format=>IHf", {"format": ">IHf", "max_frame_bytes": 10}),
            ("text:errors=replace,newline=crlf,max=1KiB", {"errors": "replace", "max_frame_bytes": 1024}),
            ("json-lines:max-depth=5,unterminated=deliver", {"max_depth": 5}),
            ("msgpack:max=10MB", {"max_frame_bytes": 10_000_000}),
            ("resp:protocol=3,inline=yes", {"protocol": 3, "inline": True}),
            ("lines:quiet=400ms", {"quiet_s": 0.4}),
            ("lines:quiet=none", {"quiet_s": None}),
            ("gap:quiet=2s", {"quiet_s": 2.0}),
            (r"delimited:delimiter=\r\n,quiet=20ms", {"quiet_s": 0.02}),
            ("text:quiet=1s", {"quiet_s": 1.0}),
        ],
    )
    def test_options_follow_the_name(self, spec, attributes):
        """``key=value``, with commas between and escapes in the value."""
        codec = parse_codec(spec)

        assert attributes == {name: getattr(codec, name) for name in attributes}

    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            ("lins", "no codec is called 'lins'; did you mean lines? (there are raw, lines, text, delimited,"),
            ("LINES", "no codec is called 'LINES'; did you mean lines?"),
            ("", "no codec is called '' (there are raw,"),
            ("zzz:max=1", "no codec is called 'zzz' (there are raw,"),
            ("x" * 100, f"no codec is called {'x' * 40!r} (there are"),
            (
                "lines:mx=1",
                "codec lines has no option 'mx'; did you mean max? "
                "(it has newline, strict, keep-cr, unterminated, on-oversize, max-skip-bytes, quiet, max)",
            ),
            (
                "json-lines:type=int",
                "codec json-lines has no option 'type' "
                "(it has max-depth, unterminated, on-oversize, max-skip-bytes, max)",
            ),
            ("lines:max", "'max' in codec 'lines:max' is not of the form key=value"),
            ("lines:", "'' in codec 'lines:' is not of the form key=value"),
            ("lines:max=1,", "'' in codec 'lines:max=1,' is not of the form key=value"),
            ("lines:max=1,max=2", "codec lines: max is given twice"),
            ("lines:max=10mbb", "codec lines: max: '10mbb' is not a size: write"),
            ("lines:max=-1", "codec lines: max_frame_bytes must be 1 or more, not -1"),
            ("lines:newline=cr", "codec lines: newline: 'cr' is not lf or crlf"),
            ("lines:quiet=400", "codec lines: quiet: '400' is not a duration: write"),
            ("lines:quiet=0s", "codec lines: quiet must be over 0 and at most a day, not 0.0 s"),
            ("gap:quiet=none", "codec gap: quiet: 'none' is not a duration"),
            ("lines:quiet=1s,on-oversize=skip", "codec lines: quiet does not go with on_oversize=skip"),
            ("lines:keep-cr=1", "codec lines: keep-cr: '1' is not yes or no"),
            ("lines:newline=crlf,keep-cr=yes", "codec lines: keep_cr does not go with newline=crlf"),
            ("length-prefixed:size=9", "codec length-prefixed: size must be 1 to 8, not 9"),
            ("length-prefixed:strip=some", "codec length-prefixed: strip: 'some' is not"),
            ("delimited", "codec delimited needs the option delimiter (bytes, once or more)"),
            ("fixed:", "'' in codec 'fixed:' is not of the form key=value"),
            ("struct", "codec struct needs the option format (text)"),
            ("struct:format=IH", "codec struct: the format 'IH' names no byte order"),
            ("delimited:delimiter=", "codec delimited: the length of the delimiter must be 1 to 256, not 0"),
            (
                r"delimited:delimiter=\q",
                r"codec delimited: delimiter: '\\q' is no escape: \n, \r, \t, \0, \xNN, \\ and \, are",
            ),
            (r"delimited:delimiter=\x4", r"codec delimited: delimiter: '\\x' is no escape"),
            (
                "delimited:delimiter=a\\",
                "codec 'delimited:delimiter=a\\\\' ends in a lone backslash: write \\\\ for one",
            ),
        ],
    )
    def test_a_mistake_is_named_in_one_line(self, spec, problem):
        """With the nearest known word, or with what is allowed."""
        with pytest.raises(ConfigurationError) as caught:
            parse_codec(spec)

        assert caught.value.problem.startswith(problem)
        assert "\n" not in caught.value.problem


class TestDescribing:
    """The list of codecs."""

    def test_every_codec_is_there_with_one_line_about_it(self):
        """In the order of the reference."""
        described = describe_codecs()

        assert NAMES == [codec.name for codec in described]
        assert all(codec.summary.endswith(".") and "\n" not in codec.summary for codec in described)

    def test_options_come_with_what_is_allowed_and_their_defaults(self):
        """As a spec would write them; None where there is no default."""
        options = {codec.name: codec.options for codec in describe_codecs()}

        assert options["lines"] == (
            CodecOption("newline", "lf or crlf", "lf"),
            CodecOption("strict", "yes or no", "no"),
            CodecOption("keep-cr", "yes or no", "no"),
            CodecOption("unterminated", "refuse or deliver", "refuse"),
            CodecOption("on-oversize", "close or skip", "close"),
            CodecOption("max-skip-bytes", "a size", "16MiB"),
            CodecOption("quiet", "a duration or none", "none"),
            CodecOption("max", "a size", "64KiB"),
        )
        assert CodecOption("quiet", "a duration", "20ms") == options["gap"][0]
        assert options["fixed"] == (CodecOption("size", "a whole number", None),)
        assert CodecOption("size", "a whole number", "4") == options["length-prefixed"][0]
        assert CodecOption("delimiter", "bytes, once or more", None) == options["delimited"][0]
        assert CodecOption("format", "text", None) == options["struct"][0]

    def test_what_is_described_as_a_default_is_the_default(self):
        """Given in a spec it changes nothing."""
        for codec in describe_codecs():
            given = [f"{option.name}={option.default}" for option in codec.options if option.default is not None]
            if len(given) < len(codec.options):
                continue
            defaults, written = parse_codec(codec.name), parse_codec(f"{codec.name}:{','.join(given)}")

            assert {k: v for k, v in vars(defaults).items() if not callable(v) and k not in ("_lines", "_values")} == {
                k: v for k, v in vars(written).items() if not callable(v) and k not in ("_lines", "_values")
            }


def test_msgspec_is_imported_only_by_those_who_use_it():
    """It takes longer to import than everything else."""
    code = (
        "import sys; import penstock.codecs as c; c.describe_codecs(); c.parse_codec('lines'); c.JsonLines\n"
        "assert 'msgspec' not in sys.modules\n"
        "c.parse_codec('json-lines'); assert 'msgspec' in sys.modules"
    )

    assert 0 == subprocess.run([sys.executable, "-c", code]).returncode


def test_every_public_name_of_the_package_exists():
    """They are imported on first use; a wrong one is an AttributeError as ever."""
    import penstock.codecs

    assert all(hasattr(penstock.codecs, name) for name in penstock.codecs.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Lins'"):
        penstock.codecs.Lins  # noqa: B018  # the access is the test


OWN = """
from penstock import Buffer, Codec, NEED_DATA
class Bang(Codec[bytes]):
    name = "bang"
    def decode(self, buffer):
        end = buffer.find(b"!")
        if end < 0:
            return NEED_DATA
        message = bytes(buffer[:end])
        del buffer[: end + 1]
        return message
    def encode(self, message):
        return message + b"!"
made = Bang()
class Needy(Bang):
    def __init__(self, size):
        self.size = size
number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's, that holds codecs."""
    tmp_path.joinpath("own_codecs.py").write_text(OWN)
    tmp_path.joinpath("broken_codecs.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("own_codecs", "broken_codecs"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("spec", ["own_codecs:Bang", "own_codecs:made"])
def test_the_users_own_codec_is_named_by_its_module(own, spec):
    """A class is made, an object is taken; then it works wherever a codec has a name."""
    codec = parse_codec(spec)

    assert (b"hi", b"hi!") == (codec.decode(Buffer(b"hi!there")), codec.encode(b"hi"))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("own_codecs:number", "own_codecs:number is not a codec: expected a Codec or a Codec class"),
        ("own_codecs:nothing", "own_codecs:nothing is not a codec: expected a Codec or a Codec class"),
        ("lins:Bang", "no codec is called 'lins'; did you mean lines?, and no module either"),
        (
            "broken_codecs:Bang",
            "codec broken_codecs:Bang: cannot import broken_codecs: ZeroDivisionError: division by zero",
        ),
        (
            "own_codecs:Needy",
            "codec own_codecs:Needy cannot be made without arguments: "
            "Needy.__init__() missing 1 required positional argument: 'size'",
        ),
    ],
)
def test_what_is_no_codec_of_the_users_is_refused(own, spec, problem):
    """In one sentence."""
    with pytest.raises(ConfigurationError) as caught:
        parse_codec(spec)

    assert problem == caught.value.problem
