"""Who the process becomes: what is refused, in which order it changes, and that there is no way back."""

import os
import sys

import pytest

from penstock.config import ProcessConfig
from penstock.errors import ConfigurationError, LimitError
from penstock.server import identity
from penstock.server.identity import Identity, identity_of, owner_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="setresuid(2) is not everywhere")

NOBODY = 65534
needs_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root")


def in_a_child(work):
    """Run ``work`` in a child that was forked; return what it returns, as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def test_nobody_is_asked_for_and_nothing_changes():
    """Without options the process stays who it is."""

    assert None is identity_of(ProcessConfig())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"user": "no-such-user"}, "user: there is no user 'no-such-user'"),
        ({"group": "no-such-group"}, "group: there is no group 'no-such-group'"),
        ({"user": "3999999999"}, "group: user 3999999999 has no entry, and so no group: give one, too"),
        ({"user": "4294967295"}, "4294967295 is no user's or group's number"),
    ],
)
def test_who_there_is_not_is_refused(options, said):
    """The highest number means "as it is" to the system, and is nobody's."""
    with pytest.raises(ConfigurationError) as caught:
        identity_of(ProcessConfig(**options))

    assert said == str(caught.value)


def test_only_root_may_become_another(monkeypatch):
    """Others are told so; who is asked to be who they are has nothing to do."""
    monkeypatch.setattr(identity.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(identity.os, "getuid", lambda: NOBODY)
    monkeypatch.setattr(identity.os, "getgid", lambda: NOBODY)

    assert None is identity_of(ProcessConfig(user=str(NOBODY), group=str(NOBODY)))
    with pytest.raises(LimitError, match="only root may become user root of group 0: start as root"):
        identity_of(ProcessConfig(user="root"))


@needs_root
def test_the_process_becomes_it_with_the_groups_and_for_good():
    """All three of each kind, no group of root's, and no way back."""

    def become():
        identity_of(ProcessConfig(user="nobody")).assume()
        try:
            os.setuid(0)
        except PermissionError:
            return os.getresuid(), os.getresgid(), 0 in os.getgroups()
        return "root again"

    assert repr(((NOBODY,) * 3, (NOBODY,) * 3, False)) == in_a_child(become)


@needs_root
def test_a_group_alone_leaves_root_in_no_other_group():
    """It is for files that others are to read."""

    def become():
        identity_of(ProcessConfig(group=str(NOBODY))).assume()
        return os.getresuid(), os.getresgid(), os.getgroups()

    assert repr(((0, 0, 0), (NOBODY,) * 3, [NOBODY])) == in_a_child(become)


@needs_root
def test_the_groups_change_before_the_user_does(monkeypatch):
    """After it there would be no right to."""
    said = []
    for name in ("initgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(identity.os, name, lambda *_, name=name: said.append(name))
    monkeypatch.setattr(Identity, "_verify", lambda _self: said.append("verified"))
    Identity(NOBODY, NOBODY, "nobody").assume()

    assert ["initgroups", "setresgid", "setresuid", "verified"] == said


@needs_root
def test_a_change_that_can_be_undone_is_refused():
    """A process that could become root again only looks harmless: here, its saved user is root still."""

    def become():
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            Identity(NOBODY, NOBODY)._verify()
        except LimitError as error:
            return str(error)
        return "nothing was said"

    assert "could become root again" in in_a_child(become)


def test_whose_a_file_is_to_be():
    """User, group, both; without a word whom the process becomes."""
    plain = ProcessConfig()

    assert (0, -1) == owner_of("root", plain)
    assert (-1, 0) == owner_of(":root", plain)
    assert (7, 8) == owner_of("7:8", plain)
    assert None is owner_of(None, plain)
    with pytest.raises(ConfigurationError, match="uds_owner: there is no user 'no-such-user'"):
        owner_of("no-such-user", plain)
