"""One try at a job with one harness child: requests out, responses back, scores in."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple
from typing import TypeAlias, assert_never

from app.domain.deaths import Death, ended
from app.domain.failure import Failure, FailureCode
from app.domain.job import Job, JobStatus, Phase
from app.domain.lease import Order
from app.domain.output import SampleLine
from app.domain.parking import pays
from app.domain.prompt_lengths import PromptLengths
from app.domain.quality import TaskQuality
from app.errors import LeaseLostError
from app.services.coordination import CoordinationService
from app.settings import Settings
from app.workloads.lm_eval.reading.generation_settings import task_faults
from workers.coordinator.attempt import Attempt, task_failure
from workers.coordinator.course import Course
from workers.coordinator.endings import Ended, Ending, HarnessDied, Parked
from workers.coordinator.orders import order_to_evaluate
from workers.coordinator.requests import Requests
from workers.coordinator.run_spans import STEPS
from workers.protocol.channel import Channel
from workers.protocol.fork_server import Exited
from workers.protocol.harness import (
    AllCut,
    ChunkCut,
    EngineSettled,
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

GIB = 1 << 30

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
        crowded: Callable[[], bool],
    ) -> None:
        """`crowded` says whether this coordinator has no place left."""
        self._coordination = coordination
        self._settings = settings
        self._attempt = attempt
        self._lease = attempt.lease
        self._harness = harness
        self._crowded = crowded
        self._requests = Requests(coordination, attempt)
        self._samples: dict[str, int] = {}
        self._course = Course(coordination, settings, attempt, job)
        self._tally = self._course.tally
        self._task: str | None = None
        self._answered = False
        self._quiet = False
        self._began_at = self._silent_since = time.monotonic()
        self._preparing_seconds = 0.0
        self._looked_at = 0.0

    def run(self, stopping: threading.Event) -> Ending:
        """Relay until the job has ended or the child has; LeaseLostError."""
        patience = self._settings.stall_seconds
        self._harness.connection.limit_silence(patience)
        try:
            self._attempt.spans.enter(STEPS[Phase.PREPARING])
            self._say(order_to_evaluate(self._course.job, self._attempt.given_up, self._settings))
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
        raise LeaseLostError(f"the lease on job {self._lease.id} was lost")

    def _say(self, message: EvaluateOrder | ToHarness) -> None:
        try:
            self._harness.send(message)
        except BlockingIOError:  # it takes nothing
            raise
        except OSError:  # it is gone: what it said before tells more
            log.debug("job %s: its harness child takes no more messages", self._lease.id)

    def _died(self, words: str, status: int | None = None, *, outgrew: bool = False) -> HarnessDied:
        return HarnessDied(Death(words, self._task, status, answered=self._answered, outgrew=outgrew))

    def _hear(self) -> Ending | None:
        """Hand on what the harness says, else what the engines answered."""
        try:
            message = self._harness.receive(self._settings.poll_seconds)
        except TimeoutError:
            self._quiet = True
            self._collect()
            return self._check_stalled()
        if message is None:
            return self._died("the harness child died")
        self._quiet, self._silent_since = False, time.monotonic()
        return self._take(message)

    def _check_stalled(self) -> Ending | None:
        """A harness that has something to do and says nothing is frozen; while answers are missing it waits."""
        patience = self._settings.stall_seconds
        if time.monotonic() - self._silent_since <= patience:
            return None
        phase = self._course.phase
        busy = phase is Phase.SCORING or not self._requests.all_cut
        if busy or not self._coordination.pending_keys(self._lease.id):
            return self._died(f"the harness child said nothing for {patience:g} s while {phase}")
        self._silent_since = time.monotonic()
        return None

    def _collect(self) -> None:
        if not self._requests.all_cut:
            return
        found = self._coordination.collect(self._lease, self._requests.fingerprint)
        gpus = self._course.job.engine.gpus
        self._tally.add_chunks(found.seconds * gpus, found.cost, found.cost_failed)
        failures = [each for each in found.failures if each[0] not in self._requests.failed]
        self._tally.give(len(found.responses) + len(failures))
        if found.responses or found.failures:
            self._answered = True
            self._silent_since = time.monotonic()
        if found.responses:
            self._say(Responses(tuple(found.responses)))
        self._tell_failures(failures)

    def _tell_failures(self, failures: Iterable[tuple[bytes, Failure]]) -> None:
        for key, failure in failures:
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
        waits = self._requests.waits and self._course.phase is not Phase.SCORING
        ending = self._course.explain() if waits else None
        if ending is None:
            self._course.report()
        return ending or (self._park() if waits else None)

    def _obey(self, order: Order, stopping: threading.Event) -> bool:
        """Whether the job is to be left: its user wants that, or the worker stops."""
        if self._course.obey(order):
            return True
        if order is Order.GO_ON and stopping.is_set():
            self._coordination.stop(self._lease, JobStatus.QUEUED, "its coordinator is shutting down")
            return True
        return False

    def _park(self) -> Ending | None:
        """Leave the place to others where engines keep the job waiting for longer than a second start would cost."""
        course = self._course
        pay = pays(course.waited_seconds, course.left_seconds, self._preparing_seconds)
        if not (pay and self._quiet and self._crowded()):
            return None
        most = int(self._settings.parked_gib * GIB)
        if not self._coordination.parking.wants_room(self._lease, most):
            return None
        self._coordination.parking.park(self._lease)
        return Parked(course)

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
            case EngineSettled(args):
                self._course.job = self._coordination.settle_engine(self._lease, args)
            case Working(task):
                self._task = task
            case JudgeSettings(settings):
                self._say(SettingsJudged(tuple(task_faults(json.loads(settings), self._course.job.engine))))
            case Prepared():
                self._course.prepared(self._requests.prepared(message), message.totals)
            case LookUp(keys):
                if (answered := self._requests.take_stock()) is not None:
                    self._course.charge(answered)
                found = self._requests.look_up(keys)
                self._tally.give(len(found.responses))
                self._say(found)
            case ChunkCut():
                self._requests.add(message)
            case AllCut(lengths):
                self._all_cut(PromptLengths.told(lengths))
            case Withdraw(keys):
                self._coordination.withdraw(self._lease, keys)
            case _:
                assert_never(message)

    def _all_cut(self, prompts: PromptLengths | None) -> None:
        self._course.ways_out.prompts = prompts
        self._tally.plan(self._requests.store_rest(self._course.cut))
        self._attempt.spans.enter(STEPS[Phase.WAITING_FOR_GPU])
        self._preparing_seconds = time.monotonic() - self._began_at
        self._tally.give(len(self._requests.unanswered))
        self._tell_failures(self._requests.unanswered.items())
        self._looked_at = 0.0  # engines are given nothing before the job is seen to wait for them

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
                self._course.report()
                self._course.enter(Phase.SCORING, "scoring on CPU")
            case TellFacts():
                self._say(FactsTold(self._coordination.engine_facts(self._lease, self._requests.fingerprint)))
            case _:
                assert_never(message)

    def _task_finished(self, message: TaskFinished) -> None:
        task, fault = message.task, message.fault
        self._tally.set_done(task)
        error = self._failure(task, fault) if fault else None
        told = message.quality
        quality = None if told is None else TaskQuality(**asdict(told))
        self._coordination.task_finished(self._lease, task, json.loads(message.metrics), error, quality)

    def _failure(self, task: str, fault: FailureTold) -> Failure:
        """Where it was the engine that failed, with what would help it."""
        failure = task_failure(task, fault)
        harness_failed = task in self._attempt.given_up
        return failure if harness_failed else self._course.beside(failure)

    def _store_rows(self, message: SampleRows) -> None:
        task, first = message.task, self._samples.get(message.task, 0)
        lines = [SampleLine(*astuple(told)) for told in message.rows]
        self._coordination.add_samples(self._lease, task, first, lines)
        self._samples[task] = first + len(message.rows)

    def _leave(self, message: Leaving) -> Ending:
        match message:
            case Results(document, name, date):
                self._attempt.log.upload(ended=True)
                self._coordination.finish(self._lease, document, name, date)
            case JobFailed(fault):
                tail = self._attempt.log.last_lines()
                failure = Failure(FailureCode.read(fault.code), fault.message, hint=fault.hint, log_tail=tail)
                self._attempt.spans.failed(failure.code)
                self._coordination.fail(self._lease, failure)
            case Exited(status, outgrew):
                words = f"the harness child {outgrew}" if outgrew else ended(status)
                return self._died(words, status, outgrew=outgrew is not None)
            case _:
                assert_never(message)
        return Ended()
