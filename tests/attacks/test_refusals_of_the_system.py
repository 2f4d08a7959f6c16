"""What the system refuses to a server that starts is an error with a name, on every engine. Refused by strace."""

import subprocess
import sys

import pytest

from penstock.testing.peers import PATIENCE_S

REFUSED = {
    "threads": ("clone,clone3", "the system gives no thread"),
    "limits": ("prlimit64", "cannot read the descriptor limit"),
}


@pytest.mark.engines("pure", "blocking", "native")
@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("bind", ["unix:s", "unix+dgram:s"])
def test_what_the_system_refuses_is_an_error_with_a_name(strace, tmp_path, engine, refused, bind):
    """Status 6, one line that says what to do, and nothing is left."""
    calls, words = REFUSED[refused]
    under = strace("-e", f"trace={calls}", "-e", f"inject={calls}:error=EPERM")
    command = [sys.executable, "-m", "penstock", "serve", "echo", "--engine", engine.name, "--bind", bind]
    done = subprocess.run(
        [*under, *command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )

    assert 6 == done.returncode
    assert words in done.stderr
    assert "unexpected" not in done.stderr
    assert not (tmp_path / "s").exists()
