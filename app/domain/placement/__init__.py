"""Which replicas to start and which to release: a pure function, driven by the scheduler and by tests."""

from app.domain.placement.holdups import NOTHING_HELD_UP, Holdups, KeptDevices, holdups
from app.domain.placement.rules import place, widest
from app.domain.placement.tenants import ripening
from app.domain.placement.values import Claim, Decision, Demand, EarlyWish, Group, Policy, Release, Start
from app.domain.placement.wishes import wanted

__all__ = [
    "NOTHING_HELD_UP",
    "Claim",
    "Decision",
    "Demand",
    "EarlyWish",
    "Group",
    "Holdups",
    "KeptDevices",
    "Policy",
    "Release",
    "Start",
    "holdups",
    "place",
    "ripening",
    "wanted",
    "widest",
]
