"""One try at a job with one harness child: requests out, answers back, scores in."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import msgpack

from app.backends import BACKENDS
from app.domain.chunk import Chunk
from app.domain.deaths import ended
from app.domain.failure import Failure, FailureCode
from app.domain.job import LATE, Job, JobStatus, Phase
from app.domain.lease import Lease, Order
from app.domain.whereabouts import where
from app.errors import DatabaseError, LeaseLostError
from app.services.coordination import CoordinationService
from app.settings import Settings
from app.workloads.lm_eval.reading.generation_settings import task_faults
from workers.chunk_frames import to_chunk
from workers.coordinator.orders import order_to_evaluate
from workers.coordinator.progress import Tally
from workers.protocol.frames import Connection, Frame
from workers.supervision.log_tail import LogTail

LOOK_SECONDS = 1.0
LOG_BYTES = 1 << 16
TAIL_LINES = 20

log = logging.getLogger(__name__)


class HarnessDiedError(Exception):
    """The harness child ended without a result.

    `status` is its wait status, where it was seen to end; `outgrew` the bound that it was killed for.
    """

    def __init__(self, message: str, status: int | None = None, outgrew: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.outgrew = outgrew


class EngineChangedError(Exception):
    """The job's answers now depend on another engine spec: its prompts are cut anew."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"the engine of job {job.id} was changed")
        self.job = job


class JobEndedError(Exception):
    """The job was brought to an end on the way; there is nothing more to do."""


class Story:
    """One try at a job with one harness child."""

    def __init__(
        self,
        *,
        coordination: CoordinationService,
        settings: Settings,
        lease: Lease,
        job: Job,
        connection: Connection,
        log_tail: LogTail,
        given_up: Mapping[str, Failure] | None = None,
    ) -> None:
        """`given_up` are tasks that ended the harness children of earlier tries."""
        self._coordination = coordination
        self._settings = settings
        self._lease = lease
        self._job = job
        self._connection = connection
        self._log = log_tail
        self._given_up = given_up or {}
        self._fingerprint = b""
        self._reused = 0
        self._pending: set[bytes] | None = None
        self._planned = False
        self._samples: dict[str, int] = {}
        self._tally = Tally(job.requests_done)
        self.task: str | None = None
        """Whose code the harness child is running."""
        self.answered = False
        """Whether engines have answered since the harness child began."""
        self._phase = Phase.PREPARING
        self._reason = ""
        self._silent_since = time.monotonic()
        self._looked_at = 0.0
        self._handlers: dict[str, Callable[[Frame], None]] = {
            "phase": self._on_phase,
            "settings": self._on_settings,
            "working": self._on_working,
            "prepared": self._on_prepared,
            "lookup": self._on_lookup,
            "chunk": self._on_plan,
            "planned": self._on_plan,
            "withdraw": self._on_withdraw,
            "task_progress": self._on_task_progress,
            "task_failed": self._on_task_failed,
            "task_finished": self._on_task_finished,
            "sample_rows": self._on_sample_rows,
            "engine": self._on_engine,
            "results": self._on_results,
            "failed": self._on_failed,
            "exited": self._on_exited,
        }

    def run(self, lost: threading.Event, stopping: threading.Event) -> None:
        """Relay until the job has ended; LeaseLostError, HarnessDiedError, JobEndedError."""
        patience = self._settings.stall_seconds
        self._connection.limit_silence(patience)
        try:
            self._say(order_to_evaluate(self._job, self._given_up, self._settings))
            while True:
                if lost.is_set():
                    raise LeaseLostError(f"the lease on job {self._job.id} was lost")
                self._relay()
                self._look(stopping)
        except BlockingIOError as error:
            raise HarnessDiedError(f"the harness child took or told nothing for {patience:g} s") from error
        except (OSError, ValueError) as error:  # ValueError: it was killed in the middle of a frame
            raise HarnessDiedError(f"the harness child is gone ({error})") from error
        finally:
            self._upload_log(ended=True)

    def _say(self, frame: Frame) -> None:
        try:
            self._connection.send(frame)
        except BlockingIOError:  # it takes nothing
            raise
        except OSError:  # it is gone: what it said before tells more
            log.debug("job %s: its harness child takes no more frames", self._job.id)

    def _relay(self) -> None:
        """Hand on what the harness says, else what the engines answered."""
        try:
            frame = self._connection.receive(self._settings.poll_seconds)
        except TimeoutError:
            self._collect()
            self._check_stalled()
            return
        if frame is None:
            raise HarnessDiedError("the harness child died")
        self._silent_since = time.monotonic()
        self._handlers[frame["type"]](frame)

    def _check_stalled(self) -> None:
        """A harness that has something to do and says nothing is frozen; while answers are missing it waits."""
        patience = self._settings.stall_seconds
        if time.monotonic() - self._silent_since <= patience:
            return
        busy = self._phase in {Phase.PREPARING, Phase.SCORING}
        if busy or not self._coordination.pending_keys(self._job.id):
            raise HarnessDiedError(f"the harness child said nothing for {patience:g} s while {self._phase}")
        self._silent_since = time.monotonic()

    def _collect(self) -> None:
        if not self._planned:
            return
        found = self._coordination.collect(self._lease, self._fingerprint)
        self._tally.add_chunks(found.seconds * self._job.engine.gpus, found.cost, found.cost_failed)
        self._tally.give(len(found.responses) + len(found.failures))
        if found.responses or found.failures:
            self.answered = True
            self._silent_since = time.monotonic()
        if found.responses:
            responses = [[key, msgpack.unpackb(value)] for key, value in found.responses]
            self._say({"type": "responses", "responses": responses})
        for key, failure in found.failures:
            error = {"code": failure.code, "message": failure.message}
            self._say({"type": "request_failed", "key": key, "error": error})

    def _look(self, stopping: threading.Event) -> None:
        """Once a second: what the user wants, how far the job is, where it waits."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        self._obey(self._coordination.order(self._lease), stopping)
        self._upload_log(ended=False)
        if self._planned and self._phase is not Phase.SCORING:
            self._explain()
        self._report()

    def _obey(self, order: Order, stopping: threading.Event) -> None:
        coordination, lease = self._coordination, self._lease
        if order is Order.CANCEL:
            coordination.stop(lease, JobStatus.CANCELLED, "cancelled by its user")
        elif order is Order.PAUSE:
            if not coordination.pause(lease):
                return
        elif order is Order.DEADLINE:
            coordination.fail(lease, LATE)
        elif stopping.is_set():
            coordination.stop(lease, JobStatus.QUEUED, "its coordinator is shutting down")
        else:
            return
        raise JobEndedError

    def _explain(self) -> None:
        """Follow the replicas: the job waits, loads or is evaluated; engines that cannot start end it."""
        engines = self._coordination.engines(self._job, self._tally.counted_on)
        self._tally.look(engines)
        phase, reason = where(engines, self._job)
        if phase is not self._phase:
            self._enter(phase, reason)
        elif reason != self._reason:
            self._reason = reason
            self._coordination.explain(self._lease, reason)
        if phase is not Phase.EVALUATING:
            self._check_engine()

    def _check_engine(self) -> None:
        """An engine that fails is tried with other settings where that may mend it; else the job fails with it."""
        self._report()
        troubles = self._coordination.remedies.troubles(self._job)
        remedy = troubles.remedy(self._job.engine, BACKENDS[self._job.engine.backend].remedy)
        if remedy is not None and (error := troubles.failed[0].error):
            replica_id = troubles.failed[0].id
            self._job = self._coordination.remedies.take(self._lease, remedy, replica_id, error)
            if remedy.changes_answers:
                raise EngineChangedError(self._job)
        elif failure := troubles.verdict():
            self._coordination.fail(self._lease, failure)
            raise JobEndedError

    def _report(self) -> None:
        if news := self._tally.news():
            self._coordination.progress(self._lease, *news)

    def _enter(self, phase: Phase, reason: str) -> None:
        if phase is Phase.EVALUATING:
            self._tally.begin()
        self._phase, self._reason = phase, reason
        self._coordination.enter(self._lease, phase, reason)

    def _upload_log(self, *, ended: bool) -> None:
        while text := self._log.read_new(LOG_BYTES, ended=ended):
            try:
                self._coordination.add_log(self._job.id, text)
            except DatabaseError:
                self._log.unread()
                raise
            if not ended:
                return

    def _on_phase(self, frame: Frame) -> None:
        if frame["phase"] == "scoring":
            self._report()
            self._enter(Phase.SCORING, "scoring on CPU")

    def _on_settings(self, frame: Frame) -> None:
        faults = task_faults(json.loads(frame["settings"]), self._job.engine)
        self._say({"type": "judged", "faults": faults})

    def _on_working(self, frame: Frame) -> None:
        self.task = frame["task"]

    def _on_prepared(self, frame: Frame) -> None:
        totals = [(task["name"], task["total"]) for task in frame["tasks"]]
        self._fingerprint = frame["fingerprint"]
        self._tally.prepare(dict(totals))
        self._coordination.prepared(self._lease, self._fingerprint, totals, frame["provenance"])

    def _on_lookup(self, frame: Frame) -> None:
        if self._pending is None:
            self._pending = self._coordination.pending_keys(self._job.id)
        found = self._coordination.lookup(self._fingerprint, frame["keys"])
        self._reused += len(found)
        self._tally.give(len(found))
        responses = [[key, msgpack.unpackb(value)] for key, value in found]
        pending = [key for key in frame["keys"] if key in self._pending]
        self._say({"type": "found", "responses": responses, "pending": pending})

    def _on_plan(self, first: Frame) -> None:
        self._coordination.store_plan(self._lease, self._chunks(first), self._reused)
        self._planned = True
        self._tally.plan(self._coordination.pending_cost(self._job.id))

    def _chunks(self, frame: Frame | None) -> Iterator[Chunk]:
        """Chunk frames up to the one that says the plan is whole."""
        position = 0
        while frame is not None and frame["type"] == "chunk":
            yield to_chunk(self._job.id, position, frame)
            position += 1
            frame = self._connection.receive()
        if frame is None or frame["type"] != "planned":
            raise HarnessDiedError("the harness child died while it cut its requests")

    def _on_withdraw(self, frame: Frame) -> None:
        self._coordination.withdraw(self._lease, frame["keys"])

    def _on_task_progress(self, frame: Frame) -> None:
        self._tally.set_done(frame["task"], frame["done"])

    def _on_task_failed(self, frame: Frame) -> None:
        self._coordination.task_failed(self._lease, frame["task"], _task_failure(frame))

    def _on_task_finished(self, frame: Frame) -> None:
        task, error = frame["task"], _task_failure(frame) if frame["error"] else None
        self._tally.set_done(task)
        metrics = json.loads(frame["metrics"])
        self._coordination.task_finished(self._lease, task, metrics, error)

    def _on_sample_rows(self, frame: Frame) -> None:
        task, rows = frame["task"], frame["rows"]
        first = self._samples.get(task, 0)
        self._coordination.add_samples(self._lease, task, first, rows)
        self._samples[task] = first + len(rows)

    def _on_engine(self, _: Frame) -> None:
        facts = self._coordination.engine_facts(self._lease, self._fingerprint)
        self._say({"type": "engine", "facts": facts})

    def _on_results(self, frame: Frame) -> None:
        self._upload_log(ended=True)
        name, date = frame["model_name_sanitized"], frame["date"]
        self._coordination.finish(self._lease, frame["document"], name, date)
        raise JobEndedError

    def _on_failed(self, frame: Frame) -> None:
        error = frame["error"]
        tail = tuple(self._log.tail(TAIL_LINES))
        failure = Failure(
            FailureCode.read(error["code"]), error["message"], hint=error.get("hint"), log_tail=tail
        )
        self._coordination.fail(self._lease, failure)
        raise JobEndedError

    def _on_exited(self, frame: Frame) -> None:
        outgrew = frame["outgrew"]
        words = f"the harness child {outgrew}" if outgrew else ended(frame["status"])
        raise HarnessDiedError(words, frame["status"], outgrew)


def _task_failure(frame: Frame) -> Failure:
    error = frame["error"]
    tail = tuple((error.get("traceback") or "").splitlines()[-TAIL_LINES:])
    hint = error.get("hint")
    return Failure(
        FailureCode.read(error["code"]), error["message"], task=frame["task"], hint=hint, log_tail=tail
    )
