"""Log files that are moved away and opened again."""

import logging

import pytest

from penstock.telemetry.log_files import reopen_log_files


@pytest.fixture
def logger():
    """A logger of its own, whose handlers are gone afterwards."""
    logger = logging.getLogger("penstock.test.files")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.others = reopen_log_files()  # those of the tests' own
    yield logger
    for handler in list(logger.handlers):
        if type(handler) in (logging.FileHandler, logging.StreamHandler):  # not the test runner's
            logger.removeHandler(handler)
            handler.close()


@pytest.mark.parametrize("mode", ["a", "w"])
def test_a_file_that_was_moved_away_is_opened_again(tmp_path, logger, mode):
    """What came before is in the old one, what comes after in the new one; nothing that is there is cut off."""
    logger.addHandler(logging.FileHandler(tmp_path / "log", mode=mode))
    logger.info("before")
    (tmp_path / "log").rename(tmp_path / "log.1")
    (tmp_path / "log").write_text("another process\n")

    assert logger.others + 1 == reopen_log_files()
    logger.info("after")
    assert ("before\n", "another process\nafter\n") == (
        (tmp_path / "log.1").read_text(),
        (tmp_path / "log").read_text(),
    )


def test_what_was_open_is_open_afterwards(tmp_path, logger):
    """Not with the next record, which may be long in coming: what follows the file finds it."""
    handler = logging.FileHandler(tmp_path / "log")
    logger.addHandler(handler)
    (tmp_path / "log").rename(tmp_path / "log.1")
    reopen_log_files()

    assert str(tmp_path / "log") == handler.stream.name
    assert (tmp_path / "log").exists()


def test_one_that_cannot_be_opened_is_tried_again_with_the_next_record(tmp_path, logger):
    """Its folder was moved as well: nothing else fails for that."""
    (tmp_path / "logs").mkdir()
    logger.addHandler(logging.FileHandler(tmp_path / "logs" / "log"))
    (tmp_path / "logs").rename(tmp_path / "old")

    assert logger.others + 1 == reopen_log_files()
    (tmp_path / "logs").mkdir()
    logger.info("again")
    assert "again\n" == (tmp_path / "logs" / "log").read_text()


def test_a_file_that_was_not_written_to_yet_is_not_made(tmp_path, logger):
    """It is opened with its first record, as ever."""
    logger.addHandler(logging.FileHandler(tmp_path / "log", delay=True))

    assert logger.others + 1 == reopen_log_files()
    assert not (tmp_path / "log").exists()


def test_a_handler_of_several_loggers_is_one(tmp_path, logger):
    """And what is no file is none."""
    handler = logging.FileHandler(tmp_path / "log")
    logger.addHandler(handler)
    logger.addHandler(logging.StreamHandler())
    other = logging.getLogger("penstock.test.other")
    other.addHandler(handler)
    try:
        assert logger.others + 1 == reopen_log_files()
    finally:
        other.removeHandler(handler)
