"""Which replicas to start and which to release: a pure function, driven by the scheduler and by tests."""

from app.domain.placement.rules import place, widest
from app.domain.placement.tenants import ripening
from app.domain.placement.values import Claim, Decision, Demand, Group, Policy, Release, Start
from app.domain.placement.wishes import wanted

__all__ = [
    "Claim",
    "Decision",
    "Demand",
    "Group",
    "Policy",
    "Release",
    "Start",
    "place",
    "ripening",
    "wanted",
    "widest",
]
