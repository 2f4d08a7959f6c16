"""What a process sets up for itself, and who may not."""

import pytest

import penstock
from penstock.config import ProcessConfig
from penstock.errors import ConfigurationError
from penstock.server.surroundings import enter_directory


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    """By its name, and by that of the option."""
    with pytest.raises(ConfigurationError) as caught:
        enter_directory(ProcessConfig(chdir=str(tmp_path / "nowhere")))

    assert f"chdir: {tmp_path}/nowhere: no such file or directory" == str(caught.value)


@pytest.mark.parametrize(("option", "value"), [("user", "nobody"), ("pid_file", "pid"), ("chdir", "/")])
def test_a_part_of_a_program_is_not_the_process(option, value):
    """In a loop of the program's own these options would do nothing, and are refused."""
    app = penstock.App()
    app.add(lambda message: message, name="echo")
    for target in (lambda message: message, app):
        with pytest.raises(ConfigurationError) as caught:
            penstock.serve(target, **{option: value})

        assert str(caught.value).startswith(f"{option}: is of the whole process, which is the program's own here")
