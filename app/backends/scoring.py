"""Which way log-likelihoods are come to, where a backend has more than one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from app.domain.engine_spec import Scoring
from app.domain.group import GroupView
from app.domain.model_facts import ModelFacts
from app.domain.tolerance import Tolerance


@dataclass(frozen=True)
class ScoringCase:
    """A job whose `scoring_mode` is to be settled."""

    asked: str
    """Stock, fast or auto."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """The engine's."""
    env: Mapping[str, str] = field(default_factory=dict)
    facts: ModelFacts | None = None
    """What the model's files say, where they are at hand."""
    groups: Sequence[GroupView] = ()
    """Where it may run."""


@dataclass(frozen=True)
class ChosenScoring:
    """What is made of `scoring_mode`."""

    mode: Scoring = Scoring.STOCK
    note: str | None = None
    """What a user should know of it."""
    fault: str | None = None


ScoringChoice: TypeAlias = Callable[[ScoringCase], ChosenScoring]


def stock_alone(case: ScoringCase) -> ChosenScoring:
    """The choice of a backend that knows one way."""
    fault = "fast is for models of vllm and hf: this backend scores as lm_eval does"
    return ChosenScoring(fault=fault if case.asked == Scoring.FAST else None)


@dataclass(frozen=True)
class Tolerated:
    """What is known of fast scoring wherever a job may run."""

    found: tuple[Tolerance, ...] = ()
    """What was measured on those devices, in the job's dtype."""
    unmeasured: tuple[str, ...] = ()
    """The devices that nothing is known of, by name."""


def tolerated(backend: str, dtype: str, groups: Sequence[GroupView]) -> Tolerated:
    """Of the groups that offer the backend, all of which may get the job."""
    offering = [group for group in groups if backend in group.backends]
    found = {group.name: tuple(_measured(group, backend, dtype)) for group in offering}
    unmeasured = {
        name
        for group in offering
        for name in _device_names(group)
        if not any(group.kind == "cpu" or each.device == name for each in found[group.name])
    }
    return Tolerated(tuple(each for told in found.values() for each in told), tuple(sorted(unmeasured)))


def _measured(group: GroupView, backend: str, dtype: str) -> Iterator[Tolerance]:
    for report in group.installed:
        if report.name == backend:
            yield from (each for each in report.tolerances if each.dtype == dtype)


def _device_names(group: GroupView) -> set[str]:
    """Of CPU slots one name, that says what they are: their worker knows which CPU that is."""
    return {device.name for device in group.devices}
