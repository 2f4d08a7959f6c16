"""Setting up: what is written, what is not, and that everything is given back."""

import contextlib
import json
import logging
import os
import warnings

import pytest

from penstock.errors import ConfigurationError
from penstock.telemetry import configure_logging


@contextlib.contextmanager
def own_root():
    """The root logger without the handlers of the test runner, which come anew with each phase of a test.

    `logging.config.dictConfig` closes all handlers of the process: those of the runner are kept from it. Its file, once
    closed, is opened again with the next record that is logged, which may be another test's.
    """
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    closable, by_name = logging._handlerList[:], dict(logging._handlers)
    for each in (logger.handlers, logging._handlerList, logging._handlers):
        each.clear()
    try:
        yield logger
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logging._handlerList[:] = closable
        logging._handlers.update(by_name)
        assert [] == [handler for handler in handlers if handler._closed]


@pytest.fixture
def written(tmp_path):
    """A function that runs another one with a log set up, and returns the lines written."""

    def run(action, *, handler=None, **options):
        path = tmp_path / "log"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with own_root() as root:
            if handler is not None:
                root.addHandler(handler)
            with configure_logging(fd=fd, **options) as log:
                action()
            assert root.handlers == ([] if handler is None else [handler])
        os.close(fd)
        assert log.writer.dropped == 0
        return path.read_text().splitlines()

    return run


def log_one_of_each():
    """Log at every level, to three loggers."""
    logging.getLogger("penstock").debug("debug")
    logging.getLogger("penstock").info("info")
    logging.getLogger("penstock.access").info("access")
    logging.getLogger("mine").warning("mine")


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({}, ["info", "access", "mine"]),
        ({"level": "debug"}, ["debug", "info", "access", "mine"]),
        ({"level": "warning"}, ["mine"]),
        ({"level": "critical"}, []),
        ({"access_log": False}, ["info", "mine"]),
    ],
)
def test_the_level_and_the_access_log_choose_what_is_written(written, options, messages):
    """The user's own records go the same way as ours."""

    assert messages == [line.rpartition(" ")[2] for line in written(log_one_of_each, **options)]


def test_json_lines_are_json(written):
    """Warnings of Python included: whoever parses the log meets nothing else."""

    def action():
        logging.getLogger("penstock").info("ready", extra={"event": "ready"})
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("deprecated", stacklevel=1)

    lines = [json.loads(line) for line in written(action, format="json")]

    assert ["ready", "log"] == [line["event"] for line in lines]
    assert ["penstock", "py.warnings"] == [line["logger"] for line in lines]


def test_everything_is_given_back(written):
    """Handlers, levels, the capture of warnings."""
    logging.getLogger("penstock.access").setLevel(logging.WARNING)
    before = (logging.getLogger().level, logging.getLogger("penstock").level, warnings.showwarning)
    written(lambda: None, level="debug", access_log=False)

    assert before == (logging.getLogger().level, logging.getLogger("penstock").level, warnings.showwarning)
    assert logging.WARNING == logging.getLogger("penstock.access").level
    logging.getLogger("penstock.access").setLevel(logging.NOTSET)


def test_a_user_who_set_up_logging_keeps_it(written):
    """Then only our own records are ours to write."""
    theirs = []
    handler = logging.Handler()
    handler.emit = lambda record: theirs.append(record.getMessage())
    lines = written(log_one_of_each, handler=handler)

    assert ["info", "access"] == [line.rpartition(" ")[2] for line in lines]
    assert "mine" in theirs


def test_a_record_that_cannot_be_formatted_is_reported(written):
    """A mistake in a log call is a line, never an exception in the server."""
    lines = written(lambda: logging.getLogger("mine").warning("%d", "not a number"))

    assert 1 == len(lines)
    assert "cannot be formatted: TypeError" in lines[0]
    assert "test_setup.py:" in lines[0]


def test_a_loss_is_told_in_the_format_of_the_log():
    """In JSON it is an event with a number."""
    read, write = os.pipe()
    with own_root(), configure_logging(fd=write, format="json", level="info") as log:
        loss = json.loads(log.writer._describe_loss(7))
    os.close(read)
    os.close(write)

    assert ("log_dropped", 7, "warning") == (loss["event"], loss["dropped"], loss["level"])


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_file_sets_up_logging_instead(tmp_path, suffix):
    """As dictConfig takes it; loggers that were there stay, and no handler of ours is added."""
    there = logging.getLogger("was.there.before")
    out = tmp_path / "out"
    settings = {
        "formatters": {"short": {"format": "%(name)s %(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": str(out), "formatter": "short"}},
        "root": {"handlers": ["file"], "level": "INFO"},
    }
    file = tmp_path / f"logging.{suffix}"
    file.write_text(json.dumps(settings) if suffix == "json" else as_toml(settings))
    with own_root() as root:
        with configure_logging(config=file):
            there.info("hello")
            logging.getLogger("penstock").debug("too little")
            logging.getLogger("penstock").info("enough")
        (handler,) = root.handlers
        handler.close()

    assert ["was.there.before hello", "penstock enough"] == out.read_text().splitlines()


def as_toml(settings):
    """Write tables of texts and lists of texts."""
    lines = [f"[root]\nhandlers = {settings['root']['handlers']!r}\nlevel = 'INFO'"]
    for section in ("formatters", "handlers"):
        for name, table in settings[section].items():
            lines.append(f"[{section}.{name}]")
            lines += [f"{key} = {value!r}" for key, value in table.items()]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("none.toml", None, "cannot be read: No such file or directory"),
        ("a.toml", "x = ", "cannot be read: it is no TOML: "),
        ("a.json", "{", "cannot be read: it is no JSON: "),
        ("a.json", "[]", "is no table of settings"),
        ("a.toml", "version = 2", "dictConfig refuses it: Unsupported version: 2"),
        ("a.toml", "[handlers.x]\nclass = 'nowhere.Handler'", "dictConfig refuses it: Unable to configure handler 'x'"),
    ],
)
def test_a_file_that_sets_up_nothing_is_refused(tmp_path, name, text, problem):
    """With its name."""
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with own_root(), pytest.raises(ConfigurationError) as caught:
        configure_logging(config=file)

    assert str(file) == caught.value.where
    assert caught.value.problem.startswith(problem)
