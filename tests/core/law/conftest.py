import pytest

from penstock.testing.laws import builds

BUILDS = builds()


@pytest.fixture(params=BUILDS, scope="module")
def laws(request):
    """The modules of the law, as sources and as compiled: ``laws.closing``, ``laws.deadlines`` and so on."""
    return BUILDS[request.param]
