"""Regenerate what the documentation takes from the source: the table of options and the diagram of states."""

from pathlib import Path

from penstock.config.options import options
from penstock.config.rendering import update_table
from penstock.core.states import TRANSITIONS, State

ROOT = Path(__file__).parent.parent
START, END = "<!-- states:begin -->", "<!-- states:end -->"


def states_diagram() -> str:
    """Draw the table of states as a Mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.OPEN.value}"]
    for state, entries in TRANSITIONS.items():
        lines += [f"    {state.value} --> {follows.value}: {what.value}" for what, follows in entries.items()]
    lines += [f"    {State.CLOSED.value} --> [*]", "```"]
    return "\n".join(lines)


def update_states(page: str) -> str:
    """Return the page with the diagram between its two markers made anew."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{states_diagram()}\n{END}{after}"


PAGES = {
    ROOT / "docs" / "internals.md": update_states,
    ROOT / "docs" / "configuration.md": lambda page: update_table(page, options()),
}


def main() -> None:
    """Write every page that has changed."""
    for path, update in PAGES.items():
        before = path.read_text()
        after = update(before)
        if after != before:
            path.write_text(after)
            print(f"updated {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
