"""Draw ``docs/images/prompt.svg``: the prompt of ``penstock connect`` as a terminal shows it. Needs tmux.

The server is that of the README, and so is what is typed.
"""

import io
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "prompt.svg"
ADDRESS = "tcp://127.0.0.1:9000"
TYPED = ("hello", "glued and cut, always a message", "/time", "and when it came")
COLUMNS, ROWS = 72, 14
SERVICE = """
import penstock

@penstock.on_message(codec="lines")
def shout(message: bytes) -> bytes:
    return message.upper()
"""


def tmux(*words: str) -> str:
    """Run a command of the one terminal there is; return what it prints."""
    command = ["tmux", "-L", "penstock-picture", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603  # our own words


def screen() -> str:
    """Return what the terminal shows, with its colours."""
    return tmux("capture-pane", "-p", "-e").rstrip()


def wait_for(text: str) -> None:
    """Wait until the terminal shows a text."""
    until = time.monotonic() + 20
    while text not in screen():
        if time.monotonic() > until:
            raise TimeoutError(text)
        time.sleep(0.05)


def talk() -> str:
    """Type at a prompt; return what is on the screen then."""
    tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "env PS1='$ ' bash --norc")
    try:
        tmux("send-keys", f"PATH={sysconfig.get_path('scripts')}:$PATH; XDG_STATE_HOME=$PWD; clear", "Enter")
        tmux("send-keys", f"penstock connect {ADDRESS} --codec lines", "Enter")
        wait_for("\n>")
        for count, line in enumerate(TYPED):
            tmux("send-keys", line, "Enter")
            wait_for("their time" if line == "/time" else line.upper())
            time.sleep(0.2 + count / 10)
        return screen()
    finally:
        tmux("kill-server")


def main() -> int:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "hello.py").write_text(SERVICE)
        command = [f"{sysconfig.get_path('scripts')}/penstock", "serve", "hello.py", "--bind", ADDRESS, "--print-ready"]
        server = subprocess.Popen(  # noqa: S603  # our own words
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert server.stdout is not None
            server.stdout.readline()
            shown = talk()
        finally:
            server.terminate()
            server.communicate()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown))
    picture = console.export_svg(title="penstock connect", unique_id="prompt")
    # No font is fetched from anywhere.
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    picture = picture.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text("\n".join(line.rstrip() for line in picture.splitlines() if line.strip()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
