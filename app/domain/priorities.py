"""Which priorities each role may give a job: the operator's bounds."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.keys import Role
from app.errors import FaultyField

Bounds = Mapping[Role, tuple[int, int]]
"""Least and most; a role that is not named has no bounds of its own."""


def priority_faults(priority: object, role: Role, bounds: Bounds) -> list[FaultyField]:
    """What speaks against a priority that was posted; what is no whole number is somebody else's to tell."""
    if role not in bounds or not isinstance(priority, int):
        return []
    least, most = bounds[role]
    if least <= priority <= most:
        return []
    words = f"is {priority}: with a key of role {role} it may be {least} to {most} (EVALQ_PRIORITY_BOUNDS)"
    return [FaultyField("priority", words)]


def nearest(priority: int, role: Role, bounds: Bounds) -> int:
    """The one that a role may give which is nearest to this."""
    least, most = bounds.get(role, (priority, priority))
    return min(max(priority, least), most)
