"""One try at a job with one harness child: requests out, responses back, scores in."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TypeAlias, assert_never

from app.backends import BACKENDS
from app.domain.deaths import Death, ended
from app.domain.failure import Failure, FailureCode
from app.domain.job import LATE, Job, JobStatus, Phase
from app.domain.lease import Order
from app.domain.prompt_lengths import PromptLengths
from app.domain.whereabouts import where
from app.errors import LeaseLostError
from app.services.coordination import CoordinationService
from app.settings import Settings
from app.workloads.lm_eval.reading.generation_settings import task_faults
from workers.coordinator.attempt import Attempt, task_failure
from workers.coordinator.binding import rebound, waits_again
from workers.coordinator.endings import Ended, Ending, EngineChanged, HarnessDied
from workers.coordinator.orders import order_to_evaluate
from workers.coordinator.progress import Tally
from workers.coordinator.requests import Requests
from workers.coordinator.ways_out import WaysOut
from workers.protocol.channel import Channel
from workers.protocol.fork_server import Exited
from workers.protocol.harness import (
    AllCut,
    ChunkCut,
    EvaluateOrder,
    FactsTold,
    FailureTold,
    FromHarness,
    JobFailed,
    JudgeSettings,
    Leaving,
    LookUp,
    Prepared,
    Preparing,
    RequestFailed,
    Responses,
    Results,
    SampleRows,
    Scoring,
    ScoringBegun,
    SettingsJudged,
    TaskFailed,
    TaskFinished,
    TaskProgress,
    TellFacts,
    ToHarness,
    Withdraw,
    Working,
)

LOOK_SECONDS = 1.0

Harness: TypeAlias = Channel[EvaluateOrder | ToHarness, FromHarness]

log = logging.getLogger(__name__)


class Relay:
    """One try at a job with one harness child."""

    def __init__(
        self,
        *,
        coordination: CoordinationService,
        settings: Settings,
        attempt: Attempt,
        job: Job,
        harness: Harness,
    ) -> None:
        self._coordination = coordination
        self._settings = settings
        self._attempt = attempt
        self._lease = attempt.lease
        self._job = job
        self._harness = harness
        self._requests = Requests(coordination, attempt.lease)
        self._samples: dict[str, int] = {}
        self._ways_out = WaysOut(coordination, settings)
        self._tally = Tally(job.requests_done)
        self._task: str | None = None
        self._answered = False
        self._phase = Phase.PREPARING
        self._reason = ""
        self._silent_since = time.monotonic()
        self._looked_at = 0.0

    def run(self, stopping: threading.Event) -> Ending:
        """Relay until the job has ended or the child has; LeaseLostError."""
        patience = self._settings.stall_seconds
        self._harness.connection.limit_silence(patience)
        try:
            self._say(order_to_evaluate(self._job, self._attempt.given_up, self._settings))
            return self._relay(stopping)
        except BlockingIOError:
            return self._died(f"the harness child took or told nothing for {patience:g} s")
        except (OSError, ValueError) as error:  # ValueError: it was killed in the middle of a message
            return self._died(f"the harness child is gone ({error})")
        finally:
            self._attempt.log.close()

    def _relay(self, stopping: threading.Event) -> Ending:
        while not self._attempt.lost.is_set():
            if ending := self._hear() or self._look(stopping):
                return ending
        raise LeaseLostError(f"the lease on job {self._job.id} was lost")

    def _say(self, message: EvaluateOrder | ToHarness) -> None:
        try:
            self._harness.send(message)
        except BlockingIOError:  # it takes nothing
            raise
        except OSError:  # it is gone: what it said before tells more
            log.debug("job %s: its harness child takes no more messages", self._job.id)

    def _died(self, words: str, status: int | None = None, *, outgrew: bool = False) -> HarnessDied:
        return HarnessDied(Death(words, self._task, status, answered=self._answered, outgrew=outgrew))

    def _hear(self) -> Ending | None:
        """Hand on what the harness says, else what the engines answered."""
        try:
            message = self._harness.receive(self._settings.poll_seconds)
        except TimeoutError:
            self._collect()
            return self._check_stalled()
        if message is None:
            return self._died("the harness child died")
        self._silent_since = time.monotonic()
        return self._take(message)

    def _check_stalled(self) -> Ending | None:
        """A harness that has something to do and says nothing is frozen; while answers are missing it waits."""
        patience = self._settings.stall_seconds
        if time.monotonic() - self._silent_since <= patience:
            return None
        busy = self._phase in {Phase.PREPARING, Phase.SCORING}
        if busy or not self._coordination.pending_keys(self._job.id):
            return self._died(f"the harness child said nothing for {patience:g} s while {self._phase}")
        self._silent_since = time.monotonic()
        return None

    def _collect(self) -> None:
        if not self._requests.all_cut:
            return
        found = self._coordination.collect(self._lease, self._requests.fingerprint)
        self._tally.add_chunks(found.seconds * self._job.engine.gpus, found.cost, found.cost_failed)
        self._tally.give(len(found.responses) + len(found.failures))
        if found.responses or found.failures:
            self._answered = True
            self._silent_since = time.monotonic()
        if found.responses:
            self._say(Responses(tuple(found.responses)))
        for key, failure in found.failures:
            self._say(RequestFailed(key, FailureTold(failure.code, failure.message)))

    def _look(self, stopping: threading.Event) -> Ending | None:
        """Once a second: what the user wants, how far the job is, where it waits."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return None
        self._looked_at = now
        if self._obey(self._coordination.order(self._lease), stopping):
            return Ended()
        self._attempt.log.upload()
        ending = self._explain() if self._requests.all_cut and self._phase is not Phase.SCORING else None
        if ending is None:
            self._report()
        return ending

    def _obey(self, order: Order, stopping: threading.Event) -> bool:
        """Whether the job is to be left: its user wants that, or the worker stops."""
        coordination, lease = self._coordination, self._lease
        if order is Order.CANCEL:
            coordination.stop(lease, JobStatus.CANCELLED, "cancelled by its user")
        elif order is Order.PAUSE:
            return coordination.pause(lease)
        elif order is Order.DEADLINE:
            coordination.fail(lease, LATE)
        elif stopping.is_set():
            coordination.stop(lease, JobStatus.QUEUED, "its coordinator is shutting down")
        else:
            return False
        return True

    def _explain(self) -> Ending | None:
        """Follow the replicas: the job waits, loads or is evaluated; engines that cannot start end it."""
        engines = self._coordination.engines(self._job, self._tally.counted_on)
        self._tally.look(engines)
        phase, reason = where(engines, self._job)
        if phase is not self._phase:
            self._enter(phase, reason)
        elif reason != self._reason:
            self._reason = reason
            self._coordination.explain(self._lease, reason)
        if phase is Phase.WAITING_FOR_GPU:
            held = (self._coordination, self._settings, self._attempt, self._job)
            if rebound(*held):
                return EngineChanged()
            if waits_again(*held):
                return Ended()
        return self._check_engine() if phase is not Phase.EVALUATING else None

    def _check_engine(self) -> Ending | None:
        """An engine that fails is tried with other settings where that may mend it; else the job fails with it."""
        self._report()
        troubles = self._coordination.remedies.troubles(self._job)
        remedy = troubles.remedy(self._job.engine, BACKENDS[self._job.engine.backend].remedy)
        if remedy is not None and (error := troubles.failed[0].error):
            replica_id = troubles.failed[0].id
            self._job = self._coordination.remedies.take(self._lease, remedy, replica_id, error)
            return EngineChanged() if remedy.changes_answers else None
        if failure := troubles.verdict():
            self._coordination.fail(self._lease, self._ways_out.beside(self._job, failure))
            return Ended()
        return None

    def _report(self) -> None:
        if news := self._tally.news():
            self._coordination.progress(self._lease, *news)

    def _enter(self, phase: Phase, reason: str) -> None:
        if phase is Phase.EVALUATING:
            self._tally.begin()
        self._phase, self._reason = phase, reason
        self._coordination.enter(self._lease, phase, reason)

    def _take(self, message: FromHarness) -> Ending | None:
        match message:
            case Results() | JobFailed() | Exited():
                return self._leave(message)
            case TaskProgress() | TaskFailed() | TaskFinished() | SampleRows() | ScoringBegun() | TellFacts():
                self._score(message)
            case _:
                self._prepare(message)
        return None

    def _prepare(self, message: Preparing) -> None:
        match message:
            case Working(task):
                self._task = task
            case JudgeSettings(settings):
                self._say(SettingsJudged(tuple(task_faults(json.loads(settings), self._job.engine))))
            case Prepared():
                self._job = self._requests.prepared(message)
                self._tally.prepare(dict(message.totals))
            case LookUp(keys):
                found = self._requests.look_up(keys)
                self._tally.give(len(found.responses))
                self._say(found)
            case ChunkCut():
                self._requests.add(message)
            case AllCut(lengths):
                self._ways_out.prompts = PromptLengths.told(lengths)
                self._tally.plan(self._requests.store_rest(self._ways_out.cut(self._job)))
            case Withdraw(keys):
                self._coordination.withdraw(self._lease, keys)
            case _:
                assert_never(message)

    def _score(self, message: Scoring) -> None:
        match message:
            case TaskProgress(task, done):
                self._tally.set_done(task, done)
            case TaskFailed(task, fault):
                self._coordination.task_failed(self._lease, task, self._failure(task, fault))
            case TaskFinished():
                self._task_finished(message)
            case SampleRows():
                self._store_rows(message)
            case ScoringBegun():
                self._report()
                self._enter(Phase.SCORING, "scoring on CPU")
            case TellFacts():
                self._say(FactsTold(self._coordination.engine_facts(self._lease, self._requests.fingerprint)))
            case _:
                assert_never(message)

    def _task_finished(self, message: TaskFinished) -> None:
        task, fault = message.task, message.fault
        self._tally.set_done(task)
        error = self._failure(task, fault) if fault else None
        self._coordination.task_finished(self._lease, task, json.loads(message.metrics), error)

    def _failure(self, task: str, fault: FailureTold) -> Failure:
        """Where it was the engine that failed, with what would help it."""
        failure = task_failure(task, fault)
        harness_failed = task in self._attempt.given_up
        return failure if harness_failed else self._ways_out.beside(self._job, failure)

    def _store_rows(self, message: SampleRows) -> None:
        task, first = message.task, self._samples.get(message.task, 0)
        self._coordination.add_samples(self._lease, task, first, message.rows)
        self._samples[task] = first + len(message.rows)

    def _leave(self, message: Leaving) -> Ending:
        match message:
            case Results(document, name, date):
                self._attempt.log.upload(ended=True)
                self._coordination.finish(self._lease, document, name, date)
            case JobFailed(fault):
                tail = self._attempt.log.last_lines()
                failure = Failure(FailureCode.read(fault.code), fault.message, hint=fault.hint, log_tail=tail)
                self._coordination.fail(self._lease, failure)
            case Exited(status, outgrew):
                words = f"the harness child {outgrew}" if outgrew else ended(status)
                return self._died(words, status, outgrew=outgrew is not None)
            case _:
                assert_never(message)
        return Ended()
