"""A job in a coordinator's hands beside its harness: what its user wants, how far engines are, what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Sequence

from app.backends import BACKENDS
from app.domain.failure import Failure
from app.domain.job import LATE, Job, JobStatus, Phase
from app.domain.lease import Order
from app.domain.parking import Gathered
from app.domain.whereabouts import where
from app.services.coordination import CoordinationService
from app.settings import Settings
from workers.coordinator.attempt import Attempt
from workers.coordinator.binding import rebound, waits_again
from workers.coordinator.endings import Ended, Ending, EngineChanged
from workers.coordinator.progress import Tally
from workers.coordinator.run_spans import LOOK_UP, STEPS
from workers.coordinator.ways_out import WaysOut


class Course:
    """Where one job stands. It outlives the harness child: a parked job has none, and is looked at all the same."""

    def __init__(
        self,
        coordination: CoordinationService,
        settings: Settings,
        attempt: Attempt,
        job: Job,
        tally: Tally | None = None,
    ) -> None:
        self._coordination = coordination
        self._settings = settings
        self.attempt = attempt
        self.lease = attempt.lease
        self.job = job
        self.tally = tally or Tally(job.requests_done)
        self.ways_out = WaysOut(coordination, settings)
        goes_on = attempt.was_parked and job.phase is not Phase.SCORING
        self.phase = job.phase or Phase.PREPARING if goes_on else Phase.PREPARING
        self.reason = job.reason or ""
        self.eta_seconds: float | None = None
        self.looked_at = 0.0
        self.engines: frozenset[str] = frozenset()
        self._waits_since: float | None = None

    @property
    def waited_seconds(self) -> float:
        """How long no engine has had anything of the job in hand."""
        return 0.0 if self._waits_since is None else time.monotonic() - self._waits_since

    @property
    def left_seconds(self) -> float:
        """How long its engines still take, as far as that is known; 0 where it is not."""
        return self.eta_seconds or 0.0 if self.phase is Phase.EVALUATING else 0.0

    def obey(self, order: Order) -> bool:
        """Whether the job is to be left, since its user wants that."""
        coordination, lease = self._coordination, self.lease
        if order is Order.CANCEL:
            coordination.stop(lease, JobStatus.CANCELLED, "cancelled by its user")
        elif order is Order.PAUSE:
            return coordination.pause(lease)
        elif order is Order.DEADLINE:
            self.attempt.spans.failed(LATE.code)
            coordination.fail(lease, LATE)
        else:
            return False
        return True

    @property
    def cut(self) -> str | None:
        """What the plan says of prompts that the engine's length cuts."""
        return self.ways_out.cut(self.job)

    def prepared(self, job: Job, totals: Sequence[tuple[str, int]]) -> None:
        """All requests are built; where those of a harness before are void, engines are to wait for these."""
        self.job = job
        if job.phase is Phase.PREPARING:
            self.phase = Phase.PREPARING
        self.attempt.spans.enter(LOOK_UP)
        done = {task.name: task.done for task in job.tasks} if self.attempt.was_parked else {}
        self.tally.prepare(dict(totals), done)

    def charge(self, found: Gathered) -> None:
        """Engines answered this while no harness asked."""
        self.tally.add_chunks(found.seconds * self.job.engine.gpus, found.cost)

    def explain(self) -> Ending | None:
        """Follow the replicas: the job waits, loads or is evaluated; engines that cannot start end it.

        One that was started early and failed is judged before another one like it is asked for.
        """
        if self.phase is Phase.PREPARING and (ending := self._check_engine()):
            return ending
        engines = self._coordination.engines(self.job, self.tally.counted_on)
        self.tally.look(engines)
        self._note_waiting(bool(engines.headway))
        phase, reason = where(engines, self.job)
        if phase is not self.phase:
            self.enter(phase, reason)
        elif reason != self.reason:
            self.reason = reason
            self._coordination.explain(self.lease, reason)
        if phase is Phase.WAITING_FOR_GPU:
            held = (self._coordination, self._settings, self.attempt, self.job)
            if rebound(*held):
                return EngineChanged()
            if waits_again(*held):
                return Ended()
        return self._check_engine() if phase is not Phase.EVALUATING else None

    def _note_waiting(self, is_answered: bool) -> None:
        if is_answered:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = time.monotonic()

    def _check_engine(self) -> Ending | None:
        """An engine that fails is tried with other settings where that may mend it; else the job fails with it."""
        self.report()
        troubles = self._coordination.remedies.troubles(self.job)
        remedy = troubles.remedy(self.job.engine, BACKENDS[self.job.engine.backend].remedy)
        if remedy is not None and (error := troubles.failed[0].error):
            replica_id = troubles.failed[0].id
            self.job = self._coordination.remedies.take(self.lease, remedy, replica_id, error)
            return EngineChanged() if remedy.changes_answers else None
        if failure := troubles.verdict():
            self.attempt.spans.failed(failure.code)
            self._coordination.fail(self.lease, self.beside(failure))
            return Ended()
        return None

    def beside(self, failure: Failure) -> Failure:
        """A failure of an engine, with what would help it."""
        return self.ways_out.beside(self.job, failure)

    def report(self) -> None:
        """Tell how far it is, where that has changed."""
        if news := self.tally.news():
            progress, data, gpu_seconds = news
            self.eta_seconds = progress.rates.get("eta_seconds")
            self._coordination.progress(self.lease, progress, data, gpu_seconds)

    def enter(self, phase: Phase, reason: str) -> None:
        """The job is in another phase."""
        if phase is Phase.EVALUATING:
            self.tally.begin()
        self.phase, self.reason = phase, reason
        self.attempt.spans.enter(STEPS[phase])
        self._coordination.enter(self.lease, phase, reason)
