"""The syslog collector, by logger in every mode; counted and ended messages in one stream, cut anywhere."""

import syslog as _  # noqa: F401  # the standard library's: the example is loaded by its path
