"""Lay out the pages of the site in ``build/pages``: what is in ``docs/``, and README, changelog and contributing.

All of them are written for the repository. On the site a link leads to the page of the site; what is no page there (a
directory, a benchmark's raw data) is named and not linked. A link that leads nowhere is left for the site's builder to
refuse.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build" / "pages"
ADDED = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
ASSETS = {".svg", ".png"}

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def pages() -> Iterator[tuple[str, str]]:
    """Yield where each page and picture is, and where it will be: paths from the root and from the site's."""
    yield from ADDED.items()
    for picture in sorted((ROOT / "bench" / "results").glob("*.svg")):
        yield picture.relative_to(ROOT).as_posix(), f"images/{picture.name}"
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix == ".md" or path.suffix in ASSETS:
            yield path.relative_to(ROOT).as_posix(), path.relative_to(ROOT / "docs").as_posix()


def led(text: str, source: str, home: dict[str, str]) -> str:
    """Return a page with its links leading to the site's pages; listings stay as they are.

    Args:
        text: The page.
        source: Where it is, from the root.
        home: Where each page will be, by where it is.
    """

    def lead(match: re.Match[str]) -> str:
        target = (ROOT / source).parent / match[3]
        if not target.exists():
            return match[0]
        name = os.path.relpath(target, ROOT)
        if name not in home:
            return match[2]
        there = os.path.relpath(home[name], os.path.dirname(home[source]) or ".")
        return f"{match[1]}[{match[2]}]({there}{match[4] or ''})"

    parts, at = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(lead, text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join(parts) + _LINK.sub(lead, text[at:])


def main() -> None:
    """Write all pages anew."""
    home = dict(pages())
    shutil.rmtree(PAGES, ignore_errors=True)
    for source, there in home.items():
        path = PAGES / there
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            path.write_text(led((ROOT / source).read_text(), source, home))
        else:
            shutil.copyfile(ROOT / source, path)


if __name__ == "__main__":
    main()
