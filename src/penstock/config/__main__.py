"""``python -m penstock.config PAGE`` makes the table of options in a page of the documentation anew."""

import sys
from pathlib import Path

from .options import options
from .rendering import update_table

if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(update_table(page.read_text(encoding="utf-8"), options()), encoding="utf-8")
