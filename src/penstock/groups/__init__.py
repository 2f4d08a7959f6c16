"""Many connections at once: groups, which are published to, and registries, which find one by its key."""

from .distant import DistantConnection
from .elsewhere import Scope
from .group import Group, Published
from .membership import Membership
from .registry import Hold, Registry
from .stats import GroupStats

__all__ = ["DistantConnection", "Group", "GroupStats", "Hold", "Membership", "Published", "Registry", "Scope"]
