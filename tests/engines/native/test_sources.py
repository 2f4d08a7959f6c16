"""The compiled sources, as text: what the compiler would let pass."""

import re
from pathlib import Path

import penstock

SOURCES = sorted(Path(penstock.__file__).parent.rglob("*.pyx"))


def leaves_except(source):
    """The numbers of the lines on which a clause that caught an exception is left before its end."""
    found = []
    blocks = []
    for number, line in enumerate(source.splitlines(), start=1):
        statement = line.strip()
        if not statement:
            continue
        indent = len(line) - len(line.lstrip())
        while blocks and indent <= blocks[-1][0]:
            blocks.pop()
        kinds = [kind for _, kind in blocks]
        if "except" in kinds:
            loops = kinds[len(kinds) - kinds[::-1].index("except") :]
            jumps = re.match(r"(break|continue)\b", statement) and not {"for", "while"} & set(loops)
            if jumps or re.search(r"(^|: )return\b", statement):
                found.append(number)
        if block := re.match(r"(except|for|while)\b.*:", statement):
            blocks.append((indent, block[1]))
    return found


def test_what_leaves_an_except_clause_is_found():
    source = """
try:
    pass
except ValueError:
    for it in them:
        break
    if it: return
except TypeError as error:
    continue
"""

    assert [7, 9] == leaves_except(source)


def test_no_except_clause_is_left_before_its_end():
    """Cython then gives up the exception's traceback as though there were one. Without memory there may be none."""
    assert {} == {path.name: lines for path in SOURCES if (lines := leaves_except(path.read_text()))}


# What code of the user's may have a connection replace while a method of it runs: its codec, a switch, a limit.
REPLACED = ("framing", "levels", "patience", "uncompiled", "waiter")


def calls_on_replaced(source):
    """The numbers of the lines on which a method is called of an attribute that may be replaced meanwhile."""
    call = re.compile(rf"\.({'|'.join(REPLACED)})(\.\w+)+\(")
    return [number for number, line in enumerate(source.splitlines(), start=1) if call.search(line)]


def test_a_call_on_an_attribute_that_may_be_replaced_is_found():
    source = """
        self.framing.cut(input)
        framing.cut(input)
        conn.uncompiled.inbound.finish()
        self.levels.high + earliest(self.patience)
"""

    assert [2, 4] == calls_on_replaced(source)


def test_what_may_be_replaced_while_it_is_called_is_held_by_a_variable():
    """Compiled code takes no reference to the object whose method it calls; an attribute's goes when it is replaced."""
    assert {} == {path.name: lines for path in SOURCES if (lines := calls_on_replaced(path.read_text()))}
