"""What an operator's monitoring reads: states as they are, and counts that only grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.db.counts import CountRepository
from app.db.session import Sessions
from app.db.tallies import TallyRepository
from app.domain.tally import Tallied


@dataclass(frozen=True)
class Scraped:
    """All that is measured, from one look at the database: the same whichever API process is asked."""

    jobs: Mapping[tuple[str, str], int]
    devices: Mapping[tuple[str, str], int]
    silence: Mapping[str, float]
    tallies: Sequence[Tallied]


class MetricsService:
    """Reads; in milliseconds, however many jobs are stored."""

    def __init__(self, *, sessions: Sessions) -> None:
        self._sessions = sessions

    def read(self) -> Scraped:
        """How things stand."""
        with self._sessions.begin() as session:
            counts = CountRepository(session)
            return Scraped(
                jobs=counts.jobs(),
                devices=counts.devices(),
                silence=counts.silence(),
                tallies=TallyRepository(session).sums(),
            )
