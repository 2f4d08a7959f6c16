"""``penstock``, and ``python -m penstock``: CTRL+C ends it without a traceback from the first line on."""

import signal
import sys


def main() -> int:
    """Import the command line, and run it."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:  # in the middle of an import it would be told as an error
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli.main import main as run  # noqa: PLC0415 - see above

    def begin() -> None:
        if is_usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    return run(begin=begin)


if __name__ == "__main__":
    sys.exit(main())
