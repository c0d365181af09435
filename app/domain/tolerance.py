"""How far fast scoring is from stock on a kind of device, as it was measured, and whether that is near enough."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

LARGEST_NATS = 0.05
"""So far a log-likelihood may be from stock's, where stock itself always gives one and the same."""

GREEDY_SHARE = 0.001
"""So many greedy flags may differ, likewise. No document may prefer another choice."""

MOST_CHARACTERS = 500
"""Of a name; a longer one is no name."""

NOISE_TIMES = 2
"""Where stock differs from itself, in another order: so many times as far fast may be from it."""


_MANY = 1_000_000_000


@dataclass(frozen=True)
class Gap:
    """How far two runs over the same documents are apart."""

    largest: float
    """Of a log-likelihood, in nats."""
    greedy: int
    """Requests with another greedy flag."""
    choices: int
    """Documents whose likeliest choice is another one."""

    def __post_init__(self) -> None:
        """ValueError for what no run could give."""
        if not (math.isfinite(self.largest) and min(self.largest, self.greedy, self.choices) >= 0):
            raise ValueError(f"no gap is {self.largest}, {self.greedy}, {self.choices}")


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What measuring found, on one model."""

    backend: str
    device: str
    """A device's name, or a CPU's."""
    dtype: str
    versions: Mapping[str, str]
    """Of the backend's distributions, by name."""
    runner: str | None
    """vLLM's model runner."""
    model: str
    documents: int
    requests: int
    fast: Gap
    """Fast beside stock."""
    noise: Gap
    """Stock beside itself, in another order."""
    stock_rate: float
    """Documents a second."""
    fast_rate: float
    measured_at: datetime
    accepted: bool = False
    """By an operator, however far it is."""

    def __post_init__(self) -> None:
        """ValueError for what no measuring could find."""
        if not (0 < self.documents <= self.requests < _MANY and self.measured_at.tzinfo):
            raise ValueError("it asks of documents, at a time that is known everywhere")
        names = (self.backend, self.device, self.dtype, self.runner or "", self.model)
        if not all(name.isprintable() and len(name) <= MOST_CHARACTERS for name in names):
            raise ValueError("a name is not one that people could read")
        if not all(math.isfinite(rate) and rate > 0 for rate in (self.stock_rate, self.fast_rate)):
            raise ValueError(f"no rates are {self.stock_rate} and {self.fast_rate}")

    @property
    def near(self) -> bool:
        """Whether fast is within the bounds, or no more than `NOISE_TIMES` as far off as stock is from itself."""
        fast, noise = self.fast, self.noise
        return (
            fast.largest <= max(LARGEST_NATS, NOISE_TIMES * noise.largest)
            and fast.greedy <= max(GREEDY_SHARE * self.requests, NOISE_TIMES * noise.greedy)
            and fast.choices <= NOISE_TIMES * noise.choices
        )

    @property
    def usable(self) -> bool:
        """Whether `scoring_mode: auto` may be fast by it."""
        return self.accepted or self.near

    @property
    def words(self) -> str:
        """What was found, for people."""
        fast = self.fast
        return (
            f"largest difference {fast.largest:.3g}, {fast.greedy:,} of {self.requests:,} greedy flags,"
            f" {fast.choices:,} of {self.documents:,} choices"
        )

    @property
    def told(self) -> str:
        """The same with where and how, for who looks after a host."""
        noise, verdict = self.noise, "too far, and accepted" if self.accepted else "too far"
        verdict = "near enough" if self.near else verdict
        return (
            f"{self.backend} on {self.device} with {self.dtype}: {self.words}"
            f" (stock itself: {noise.largest:.3g}, {noise.greedy:,}, {noise.choices:,});"
            f" {self.stock_rate:.1f} -> {self.fast_rate:.1f} documents a second;"
            f" {verdict} for scoring_mode auto; measured on {self.model}, {self.measured_at:%Y-%m-%d}"
        )

    def fits(self, backend: str, device: str, versions: Mapping[str, str]) -> bool:
        """Whether it was measured with this very backend on such a device."""
        return (self.backend, self.device, dict(self.versions)) == (backend, device, dict(versions))


def worst(found: Iterable[Tolerance]) -> Tolerance | None:
    """The one that speaks against fast, if any does, else the largest difference; None of none."""
    return max(found, key=lambda each: (not each.usable, each.fast.largest), default=None)
