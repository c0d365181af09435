"""Retention: what is older than the operator keeps goes, a short transaction at a time."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path

from app.db.retention import PAGES_AT_ONCE, RetentionRepository
from app.db.session import Sessions
from app.settings import Settings

SWEEP_SECONDS = 3600.0
LOG_FOLDERS = ("jobs", "replicas")
SHARED_LOG = "server.log"
"""Of the process that all jobs of a coordinator are forked from: it never ends."""

log = logging.getLogger(__name__)


class Kept(StrEnum):
    """What a sweep removes, in words for people."""

    JOBS = "jobs"
    REPLICAS = "ended replicas"
    MEASURES = "measures of engines"
    RESPONSES = "responses"
    FACTS = "facts about engines"
    LOGS = "log pieces"
    FILES = "log files"
    USAGE = "hours of usage"


@dataclass(frozen=True)
class Ages:
    """How old each may become; None keeps it for ever."""

    jobs: timedelta | None = None
    responses: timedelta | None = None
    logs: timedelta | None = None
    usage: timedelta | None = None

    @classmethod
    def of(cls, settings: Settings) -> Ages:
        """As the settings say."""
        return cls(
            jobs=_days(settings.keep_jobs_days),
            responses=_days(settings.keep_responses_days),
            logs=_days(settings.keep_logs_days),
            usage=_days(settings.keep_usage_days),
        )


def kinds_of(ages: Ages) -> list[Kept]:
    """What a sweep by these ages removes."""
    jobs = [Kept.JOBS, Kept.REPLICAS, Kept.MEASURES] if ages.jobs is not None else []
    responses = [Kept.RESPONSES, Kept.FACTS] if ages.responses is not None else []
    logs = [Kept.LOGS, Kept.FILES] if ages.logs is not None else []
    return jobs + responses + logs + ([Kept.USAGE] if ages.usage is not None else [])


class RetentionService:
    """`sweep` is an iterator, so that whoever drives it decides when the next transaction may be."""

    def __init__(self, *, sessions: Sessions, settings: Settings) -> None:
        self._sessions = sessions
        self._settings = settings

    def sweep(self, ages: Ages, *, dry_run: bool = False) -> Iterator[tuple[Kept, int]]:
        """Remove what is too old, or count it; yields what went after each transaction. Safe to repeat."""
        if ages.jobs is not None:
            yield from self._jobs(ages.jobs, dry_run=dry_run)
            yield from self._replicas(ages.jobs, dry_run=dry_run)
            yield from self._measures(ages.jobs, dry_run=dry_run)
        if ages.responses is not None:
            yield from self._responses(ages.responses, dry_run=dry_run)
            yield from self._facts(ages.responses, dry_run=dry_run)
        if ages.logs is not None:
            yield from self._logs(ages.logs, dry_run=dry_run)
        if ages.usage is not None:
            yield from self._usage(ages.usage, dry_run=dry_run)
        if not dry_run:
            yield from self._long_logs()

    def _jobs(self, age: timedelta, *, dry_run: bool) -> Iterator[tuple[Kept, int]]:
        if dry_run:
            yield Kept.JOBS, self._do(lambda rows: rows.old_jobs(age))
            return
        while count := self._do(lambda rows: rows.drop_jobs(age)):
            yield Kept.JOBS, count

    def _replicas(self, age: timedelta, *, dry_run: bool) -> Iterator[tuple[Kept, int]]:
        if dry_run:
            yield Kept.REPLICAS, self._do(lambda rows: rows.old_replicas(age))
            return
        while count := self._do(lambda rows: rows.drop_replicas(age)):
            yield Kept.REPLICAS, count

    def _measures(self, age: timedelta, *, dry_run: bool) -> Iterator[tuple[Kept, int]]:
        take = RetentionRepository.old_measures if dry_run else RetentionRepository.drop_measures
        yield Kept.MEASURES, self._do(partial(take, age=age))

    def _responses(self, age: timedelta, *, dry_run: bool) -> Iterator[tuple[Kept, int]]:
        take = RetentionRepository.old_responses if dry_run else RetentionRepository.drop_responses
        for first in range(0, self._do(RetentionRepository.response_pages), PAGES_AT_ONCE):
            yield Kept.RESPONSES, self._do(partial(take, age=age, first=first))

    def _facts(self, age: timedelta, *, dry_run: bool) -> Iterator[tuple[Kept, int]]:
        take = RetentionRepository.old_facts if dry_run else RetentionRepository.drop_facts
        yield Kept.FACTS, self._do(partial(take, age=age))

    def _logs(self, age: timedelta, *, dry_run: bool) -> Iterator[tuple[Kept, int]]:
        take = RetentionRepository.old_logs if dry_run else RetentionRepository.drop_logs
        for first in range(0, self._do(RetentionRepository.log_pages), PAGES_AT_ONCE):
            yield Kept.LOGS, self._do(partial(take, age=age, first=first))

    def _usage(self, age: timedelta, *, dry_run: bool) -> Iterator[tuple[Kept, int]]:
        take = RetentionRepository.old_usage if dry_run else RetentionRepository.drop_usage
        yield Kept.USAGE, self._do(partial(take, age=age))

    def _long_logs(self) -> Iterator[tuple[Kept, int]]:
        most = self._settings.log_bytes
        with self._sessions.begin() as session:
            logs = RetentionRepository(session).long_logs(most)
        for owner, job in logs:
            cut = partial(RetentionRepository.cut_log, owner_id=owner, job_id=job, most_bytes=most)
            yield Kept.LOGS, self._do(cut)

    def _do(self, step: Callable[[RetentionRepository], int]) -> int:
        with self._sessions.begin() as session:
            return step(RetentionRepository(session))


class Sweeper:
    """The leading scheduler's: one sweep an hour, one transaction a turn, so that it never holds up placement."""

    def __init__(
        self, service: RetentionService, ages: Ages, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._service = service
        self._ages = ages
        self._clock = clock
        self._next_at = clock()
        self._steps: Iterator[tuple[Kept, int]] | None = None
        self._removed: Counter[Kept] = Counter()

    def sweep_some(self) -> None:
        """The next transaction, if one is due."""
        if self._steps is None:
            if self._clock() < self._next_at:
                return
            self._steps, self._next_at = self._service.sweep(self._ages), self._clock() + SWEEP_SECONDS
        step = next(self._steps, None)
        if step is not None:
            self._removed[step[0]] += step[1]
        else:
            self._finish()

    def _finish(self) -> None:
        removed = [f"{count} {what}" for what, count in self._removed.items() if count]
        if removed:
            log.info("no longer kept: %s", ", ".join(removed))
        self._steps, self._removed = None, Counter()


def old_log_files(data_dir: Path, age: timedelta, *, dry_run: bool = False) -> int:
    """Remove (or count) this host's logs of jobs and replicas that nobody wrote to for so long."""
    oldest = time.time() - age.total_seconds()
    files = [file for folder in LOG_FOLDERS for file in (data_dir / "logs" / folder).glob("*.log")]
    old = [file for file in files if file.name != SHARED_LOG and _modified_at(file) < oldest]
    if not dry_run:
        for file in old:
            file.unlink(missing_ok=True)
    return len(old)


def _modified_at(file: Path) -> float:
    """Never, for a file that another worker has just removed."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _days(number: float) -> timedelta | None:
    return timedelta(days=number) if number else None
