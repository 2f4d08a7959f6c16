"""Errors of a server that name an option, told with the place where its value came from."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..config.sources import ConfigurationErrors, Settings
from ..errors import ConfigurationError


@contextmanager
def placing(sources: Iterable[Settings]) -> Iterator[None]:
    """Have an error that names an option say where its value came from: ``--tls-cert``, ``penstock.toml:3: tls_cert``.

    Args:
        sources: The settings of each service. Where a value is said for several, the first that has it is named.
    """
    try:
        yield
    except ConfigurationErrors:
        raise  # the sources said so themselves
    except ConfigurationError as error:
        for settings in sources:
            placed = settings.placed(error)
            if placed is not error:
                raise placed from error
        raise
