"""Where the time of devices went: each second of a replica's lease has one outcome, and at most one owner; pure.

A replica's time is charged span by span, each from where the one before it ended: what is charged is as long as the
lease, whatever happened in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.line import Account
from app.domain.replica import ReplicaStatus

HOUR = timedelta(hours=1)


class Outcome(StrEnum):
    """What came of a device second."""

    USEFUL = "useful"
    """An engine answered what was stored."""
    LOADING = "loading"
    FAILED = "failed"
    """On what was not answered: chunks that failed or were taken away, loads that failed."""
    IDLE = "idle"
    """A loaded engine answered nothing."""


NOBODY: Account = ("", "")
"""Whom loading and idling are charged to: they are the service's choice, and engines are shared."""

SHARED = frozenset({Outcome.USEFUL, Outcome.FAILED})
"""What counts against its owner where devices are shared."""


@dataclass(frozen=True)
class Charge:
    """Device seconds of one hour."""

    hour: datetime
    account: Account
    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class Span:
    """A piece of a replica's time, on all of its devices."""

    since: datetime
    until: datetime
    devices: int

    def charged(self, outcome: Outcome, account: Account = NOBODY) -> list[Charge]:
        """All of it to one."""
        return list(self._by_hour(self.since, outcome, account))

    def answered(self, seconds: float, account: Account) -> list[Charge]:
        """An engine took its last `seconds` for an answer, and none before: a clock of another host may say more."""
        most = (self.until - self.since).total_seconds()
        began = self.until - timedelta(seconds=min(max(0.0, seconds), most))  # 0 for what is no number
        before = Span(self.since, began, self.devices).charged(Outcome.IDLE)
        return [*before, *self._by_hour(began, Outcome.USEFUL, account)]

    def _by_hour(self, begin: datetime, outcome: Outcome, account: Account) -> Iterator[Charge]:
        while begin < self.until:
            hour = begin.replace(minute=0, second=0, microsecond=0)
            end = min(self.until, hour + HOUR)
            yield Charge(hour, account, outcome, (end - begin).total_seconds() * self.devices)
            begin = end


def last_of(
    status: ReplicaStatus, *, loaded: bool, early: bool, working_for: Account | None
) -> tuple[Outcome, Account]:
    """What the time before a replica's end was for; `working_for` owns the oldest chunk that it had in hand."""
    if not loaded:
        return (Outcome.LOADING if status is ReplicaStatus.RELEASED else Outcome.FAILED), NOBODY
    return (waited(early=early), NOBODY) if working_for is None else (Outcome.FAILED, working_for)


def waited(*, early: bool) -> Outcome:
    """What a loaded engine did that had nothing to do; one that was started early waits for its first request."""
    return Outcome.LOADING if early else Outcome.IDLE
