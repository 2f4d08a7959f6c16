"""The cells in which workers count: given, cleared, given again."""

import errno

import pytest

from penstock.workers import cells
from penstock.workers.cells import AVAILABLE, Cells, WorkerCell

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no memory without a name here")


@pytest.mark.parametrize("lacking", [False, True])
def test_a_cell_that_is_taken_back_is_clear(monkeypatch, lacking):
    """Without a descriptor to map it with, too: what a dead worker had counted must not stay."""
    made = Cells()
    number = made.give(1)
    cell = WorkerCell(made.descriptors[0], number)
    cell.numbers[0], cell.keys[0], cell.keys[-1] = 5, 6, 7

    def refuse(*_args, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        if lacking:
            patch.setattr(cells.mmap, "mmap", refuse)
        made.take_back(1)

    assert [0, 0, 0] == [cell.numbers[0], cell.keys[0], cell.keys[-1]]
    assert number == made.give(2)
    made.take_back(2)
    made.close()
