"""Names of Unix sockets: bytes for the kernel, text for people, and each back from the other."""

import os
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.address.unix_name import path_of_unix_name, quote_path, unix_name_of_path, unquote_path
from penstock.errors import ConfigurationError

PATHS = st.binary(min_size=1, max_size=107).filter(lambda path: b"\0" not in path).map(os.fsdecode)


@given(PATHS)
def test_a_quoted_path_reads_back(path):
    """Whatever bytes it has; and it is printable and one word."""
    quoted = quote_path(path)

    assert path == unquote_path(quoted)
    assert quoted.isprintable()
    assert " " not in quoted


@pytest.mark.parametrize("text", ["%", "50%", "%1", "%zz", "%%41", "%\N{ARABIC-INDIC DIGIT ONE}0"])
def test_a_percent_sign_stands_for_a_byte_or_is_refused(text):
    """Two readings, so neither."""
    with pytest.raises(ConfigurationError) as caught:
        unquote_path(text)

    assert "write %25 for the sign itself" in caught.value.problem


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")


@pytest.mark.parametrize("name", ["x", pytest.param("@abstract", marks=needs_linux), "./@file"])
def test_the_kernel_gives_back_the_name_that_it_was_given(tmp_path, monkeypatch, name):
    """``getsockname`` of what was bound is the path as it was written."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(unix_name_of_path(name))

        assert name == path_of_unix_name(sock.getsockname())


def test_an_unnamed_socket_has_no_path():
    """What a client that did not bind has."""
    with socket.socket(socket.AF_UNIX) as sock:
        assert "" == path_of_unix_name(sock.getsockname())
