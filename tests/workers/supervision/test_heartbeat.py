from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from workers.supervision.heartbeat import Heartbeat, fence_margin

MINUTE = timedelta(seconds=60)


@dataclass
class Database:
    """Answers renewals, or does not; its clock stands until moved."""

    now: float = 1000.0
    answers: list[str | Exception | None] = field(default_factory=list)
    takes_seconds: float = 0.0
    losses: int = 0
    fences: list[float] = field(default_factory=list)

    def renew(self) -> str | None:
        self.now += self.takes_seconds
        answer = self.answers.pop(0) if self.answers else "go on"
        if isinstance(answer, Exception):
            raise answer
        return answer

    def lose(self) -> None:
        self.losses += 1

    def heartbeat(self, claimed_at: float | None = None) -> Heartbeat[str]:
        return Heartbeat(
            self.renew,
            ttl=MINUTE,
            on_lost=self.lose,
            on_extended=self.fences.append,
            claimed_at=claimed_at,
            clock=lambda: self.now,
        )


@pytest.fixture
def database() -> Database:
    return Database()


def test_a_lease_is_renewed_every_sixth_of_its_time(database: Database) -> None:
    heartbeat = database.heartbeat()
    assert heartbeat.step() == 10
    assert heartbeat.reply == "go on"
    assert not heartbeat.lost


def test_what_counts_is_the_moment_before_the_renewal(database: Database) -> None:
    heartbeat = database.heartbeat()
    database.takes_seconds = 7
    heartbeat.step()
    assert heartbeat.fence_at == 1000 + 45
    assert database.fences == [1045]


def test_the_time_since_the_claim_counts(database: Database) -> None:
    heartbeat = database.heartbeat(claimed_at=990)
    assert heartbeat.fence_at == 990 + 45


def test_a_lease_held_by_another_is_lost_at_once(database: Database) -> None:
    heartbeat = database.heartbeat()
    database.answers = [None]
    assert heartbeat.step() is None
    assert heartbeat.lost
    assert database.losses == 1


def test_an_unreachable_database_is_asked_again(database: Database) -> None:
    heartbeat = database.heartbeat()
    database.answers = [OSError("connection refused"), OSError("connection refused")]
    assert [heartbeat.step(), heartbeat.step(), heartbeat.step()] == [10, 10, 10]
    assert heartbeat.reply == "go on"


def test_a_lease_is_given_up_fifteen_seconds_before_its_end(database: Database) -> None:
    heartbeat = database.heartbeat()
    database.answers = [OSError("no route to host")] * 9
    database.now += 44.9
    assert heartbeat.step() == 10
    database.now += 0.1
    assert heartbeat.step() is None
    assert database.losses == 1


def test_after_a_long_freeze_nothing_is_renewed(database: Database) -> None:
    heartbeat = database.heartbeat()
    database.now += 3600
    assert heartbeat.step() is None
    assert heartbeat.reply is None
    assert database.losses == 1


def test_an_answer_that_comes_too_late_does_not_count(database: Database) -> None:
    heartbeat = database.heartbeat()
    database.takes_seconds = 50
    assert heartbeat.step() is None
    assert heartbeat.lost
    assert database.fences == []


def test_a_loss_is_told_once(database: Database) -> None:
    heartbeat = database.heartbeat()
    database.answers = [None, None]
    database.now += 1
    heartbeat.step()
    heartbeat.step()
    database.now += 3600
    heartbeat.watch()
    assert database.losses == 1


def test_a_stopped_heartbeat_loses_nothing(database: Database) -> None:
    heartbeat = database.heartbeat()
    heartbeat.stop()
    database.now += 3600
    assert heartbeat.step() is None
    assert heartbeat.watch() is None
    assert not heartbeat.lost
    assert database.losses == 0


@pytest.mark.parametrize(("ttl_seconds", "margin_seconds"), [(60, 15), (600, 15), (8, 2)])
def test_the_margin_is_scaled_to_short_leases(ttl_seconds: float, margin_seconds: float) -> None:
    assert fence_margin(timedelta(seconds=ttl_seconds)) == timedelta(seconds=margin_seconds)


def test_a_renewal_that_hangs_does_not_hold_up_the_fence() -> None:
    hanging, lost = threading.Event(), threading.Event()
    heartbeat = Heartbeat(lambda: hanging.wait(30), ttl=timedelta(seconds=0.2), on_lost=lost.set)
    heartbeat.start()
    assert lost.wait(20)
    hanging.set()


def test_a_started_heartbeat_renews_until_stopped() -> None:
    renewals = threading.Semaphore(0)
    losses: list[Callable[[], None]] = []

    def renew() -> str:
        renewals.release()
        return "go on"

    heartbeat = Heartbeat(renew, ttl=timedelta(seconds=3), on_lost=lambda: losses.append(renewals.release))
    heartbeat.start()
    assert renewals.acquire(timeout=20)
    assert renewals.acquire(timeout=20)
    heartbeat.stop()
    assert losses == []
