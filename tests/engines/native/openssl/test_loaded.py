"""Where compiled code finds OpenSSL, and what keeps it from that: what is not known to be right is left to `ssl`."""

import _ssl
import ctypes
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.engines.native.openssl import loaded
from penstock.engines.native.openssl.session import mnemonic
from penstock.engines.tls.failures import _CERTIFICATES, _WORDS

here = pytest.mark.skipif(loaded.why_not() is not None, reason=str(loaded.why_not()))


def mapped(name):
    """The file of a library that this process has loaded."""
    found = re.search(rf"(/\S*/{name}\.so\S*)", Path("/proc/self/maps").read_text())
    return found and found[1]


def test_this_python_is_known_or_says_why_not():
    """CPython 3.11 to 3.13 that loads OpenSSL from a file is."""
    known = sys.version_info[:2] in loaded.SIZES and mapped("libssl") is not None and not hasattr(sys, "getobjects")

    assert known == (loaded.why_not() is None)


@here
def test_it_is_the_library_that_ssl_has():
    """Not one of the same name, nor another version."""
    assert ssl.OPENSSL_VERSION == loaded.version()


@here
def test_another_layout_of_a_session_is_refused(monkeypatch):
    """One whose objects are of another size, or of a version that is not known."""
    monkeypatch.setitem(loaded.SIZES, sys.version_info[:2], 1)
    other_size = loaded.look()
    monkeypatch.delitem(loaded.SIZES, sys.version_info[:2])

    assert "this build of Python's ssl is not known" == other_size
    assert re.fullmatch(r"cpython 3\.\d+ is not known", loaded.look())


@here
def test_a_library_within_the_program_is_left_alone(monkeypatch):
    """Its symbols would be those of another copy, if there were any."""
    monkeypatch.delattr(_ssl, "__file__")

    assert "OpenSSL is part of this Python's own program" == loaded.look()


@here
def test_another_version_than_ssl_says_is_refused(monkeypatch):
    """Whatever the reason: they have to be the same library."""
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_NUMBER", 0x30000010)

    assert "this version of OpenSSL is not known" == loaded.look()


@here
def test_a_second_copy_that_answers_to_the_same_names_is_noticed(tmp_path):
    """A pointer of one copy in a function of the other corrupts memory."""
    copies = [shutil.copy(mapped(name), tmp_path / f"{name}-copy.so") for name in ("libcrypto", "libssl")]
    program = (
        "import ctypes, ssl, sys\n"
        "for path in sys.argv[1:]: ctypes.CDLL(path, ctypes.RTLD_GLOBAL)\n"
        "from penstock.engines.native.openssl import loaded\n"
        "print(loaded.why_not())\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *copies], capture_output=True, text=True, check=True)

    assert "this process has two copies of OpenSSL\n" == done.stdout


@here
@pytest.mark.skipif(not hasattr(_ssl, "err_codes_to_names"), reason="this Python does not show its names of errors")
def test_errors_have_the_names_that_ssl_gives_them():
    """All those that we have words for."""
    crypto = ctypes.CDLL(mapped("libcrypto"))
    crypto.ERR_reason_error_string.restype = ctypes.c_char_p
    crypto.ERR_reason_error_string.argtypes = [ctypes.c_ulong]
    wanted = _CERTIFICATES | set(_WORDS)
    shift = 23 if ssl.OPENSSL_VERSION_NUMBER >= 0x30000000 else 24
    found = {
        name: mnemonic(crypto.ERR_reason_error_string(number << shift | reason).decode())
        for (number, reason), name in _ssl.err_codes_to_names.items()
        if name in wanted
    }

    assert {name: name for name in found} == found
    assert len(found) > 15
