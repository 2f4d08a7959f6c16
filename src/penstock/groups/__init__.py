"""Many connections at once: groups, which are published to, and registries, which find one by its key."""

from .group import Group, Published
from .membership import Membership
from .registry import Hold, Registry
from .stats import GroupStats

__all__ = ["Group", "GroupStats", "Hold", "Membership", "Published", "Registry"]
