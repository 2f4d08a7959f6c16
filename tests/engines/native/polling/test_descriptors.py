"""A loop that cannot be made, for want of descriptors or of a right call, closes no descriptor of anybody else's."""

import asyncio
import os
import resource

import pytest

from penstock.engines.native.polling.attached import AttachedPoller
from penstock.engines.native.polling.selector import NativeSelector
from penstock.load.native.loop import LoadLoop


@pytest.fixture
def lowest():
    """A descriptor 0, which is what memory that nothing was written to says."""
    before = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    yield os.fstat(0).st_rdev
    os.dup2(before, 0)
    os.close(before)
    os.close(nothing)


@pytest.fixture
def exhaust():
    """Leave so many descriptors, and no more."""
    taken, limits = [], resource.getrlimit(resource.RLIMIT_NOFILE)

    def leave(count):
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        for _ in range(count):
            os.close(taken.pop())

    yield leave
    for each in taken:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("kind", [NativeSelector, AttachedPoller])
def test_a_set_that_cannot_be_made_leaves_descriptor_0_alone(kind, left, lowest, exhaust):
    """Each descriptor that it needs may be the one that there is none for; a selector does without its bell."""
    with asyncio.Runner() as runner:
        args = () if kind is NativeSelector else (runner.get_loop(),)
        exhaust(left)
        made = None
        try:
            made = kind(*args)
        except OSError:
            refused = True
        else:
            refused = False
            made.close()
        del made
        after = os.fstat(0).st_rdev

    assert refused == (left == 0 or kind is AttachedPoller)
    assert lowest == after


@pytest.mark.parametrize("kind", [NativeSelector, AttachedPoller, LoadLoop])
def test_a_call_that_is_no_call_closes_nothing(kind, lowest):
    """Where not even the arguments are looked at, nothing was begun."""
    with pytest.raises(TypeError):
        kind(**{1: 2})

    assert lowest == os.fstat(0).st_rdev
