"""The story of a job: prepare, ask, wait, score, report."""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lm_eval.api.task import Task

from workers.harness_child.errors import (
    INTERNAL,
    TASK_ERROR,
    CoordinatorGoneError,
    JobFailedError,
    TaskFailedError,
    all_failed,
    caught,
    described,
    loading_code,
    sayable,
)
from workers.harness_child.fingerprint import fingerprint
from workers.harness_child.lm_eval import loading, scoring, templates
from workers.harness_child.lm_eval.askable import check
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.chunking import Planner
from workers.harness_child.lm_eval.inbox import Inbox
from workers.harness_child.lm_eval.provenance import of_task, provenance
from workers.harness_child.lm_eval.requests import Asking, Failure, Ledger, settings_of
from workers.harness_child.lm_eval.results import Report, file_date
from workers.harness_child.lm_eval.shared_faults import SharedFaults
from workers.harness_child.lm_eval.unanswered import Gaps, leave_out
from workers.harness_child.lm_eval.writing import portions
from workers.protocol.frames import Connection, Frame
from workers.protocol.harness import Job

LOOKUP_KEYS = 5000
PROGRESS_SECONDS = 1.0

_log = logging.getLogger(__name__)


def serve(connection: Connection) -> int:
    """Evaluate the one job that is ordered on a connection; the exit status of the process."""
    templates.install()
    logging.raiseExceptions = False  # task code may have closed what is logged to
    order = connection.receive()
    if order is None:
        return 1
    try:
        Evaluation(Job.parse(order), connection).run()
    except CoordinatorGoneError:
        return 1
    except BaseException as error:  # noqa: BLE001 - whatever it is, the coordinator learns it
        _log.exception("the job failed")
        connection.send({"type": "failed", "error": described(error, INTERNAL)})
        return 1
    return 0


class Evaluation:
    """One job, from its order to its results."""

    def __init__(self, job: Job, connection: Connection) -> None:
        self._job = job
        self._connection = connection
        self._pid = os.getpid()
        self._inbox = Inbox(connection)
        self._ledger = Ledger()
        self._shared = SharedFaults(self._ledger)
        self._failures: dict[str, dict[str, str]] = {}
        self._chosen: dict[str, list[int] | None] = {}
        self._limits: dict[str, int | None] = {}
        self._gaps: dict[str, Gaps] = {}
        self._drawers: list[str] = []
        self._judged: dict[str, list[str]] = {}
        self._progress_at: dict[str, float] = defaultdict(float)
        self._known: dict[str, dict[str, Any]] = {}
        self._at: str | None = None

    def run(self) -> None:
        """Send everything the coordinator is owed, ending with the results."""
        if faults := self._job.spec.faults():
            raise JobFailedError(TASK_ERROR, "; ".join(faults))
        self._phase("preparing")
        self._prepare()
        self._look_up()
        self._plan()
        self._phase("waiting")
        self._score_as_answers_come()
        self._phase("scoring")
        self._score_drawers()
        self._send_results()

    def _prepare(self) -> None:
        job = self._job
        self._lm = BrokerLM(job.engine, self._ledger.answer, job.hf_python)
        template = self._lm.choose_template(job.spec.apply_chat_template)
        self._report = Report(job, self._lm, chat_template=template)
        scoring.seed(job.spec)
        self._load()
        self._build()
        self._scorer = scoring.Scorer(self._lm, job.spec)
        self._send(
            "prepared",
            fingerprint=fingerprint(job.engine, job.backend_key),
            tasks=[{"name": name, "total": self._ledger.totals[name]} for name in self._tasks],
            provenance=provenance(job, {name: self._known[name] for name in self._tasks}, template),
        )

    def _load(self) -> None:
        try:
            loaded = loading.load(self._job, self._working)
        except ValueError as error:
            raise JobFailedError(TASK_ERROR, str(error)) from error
        self._tasks: dict[str, Task] = loaded.tasks
        self._groups = loaded.groups
        self._order = list(loaded.tasks)
        for name, failure in loaded.failures.items():
            self._fail(name, described(failure, loading_code(failure)))
        for name, task in list(self._tasks.items()):
            with self._at_its_own_risk(name):
                loading.configure(task, self._job.spec)

    def _build(self) -> None:
        asking = Asking(self._job, self._lm)
        for name, task in list(self._tasks.items()):
            with self._at_its_own_risk(name, loading_code):
                self._chosen[name] = loading.chosen(name, self._job.spec)
                self._limits[name] = loading.build(name, task, self._job.spec, self._lm)
                check(task.instances, self._chosen[name])
                self._known[name] = of_task(task)
                self._judge(task)
                self._ledger.enter(name, asking.ask(task.instances))
        if not self._tasks:
            raise all_failed(self._failures)

    def _judge(self, task: Task) -> None:
        """Let the coordinator, which knows the backend, look at settings that no task had yet; TaskFailedError."""
        for text in settings_of(task.instances):
            if text not in self._judged:
                self._send("settings", settings=text)
                self._judged[text] = self._await("judged")["faults"]
            if self._judged[text]:
                raise TaskFailedError(TASK_ERROR, "; ".join(self._judged[text]))

    @contextmanager
    def _at_its_own_risk(
        self, name: str, code: Callable[[BaseException], str] = lambda _: TASK_ERROR
    ) -> Iterator[None]:
        """What the code of a task does here fails that task alone; the coordinator knows whose code it is."""

        def failed(error: BaseException) -> None:
            self._fail(name, described(error, code(error), self._chosen.get(name)))

        self._working(name)
        with caught(failed):
            yield

    def _working(self, name: str | None) -> None:
        if name != self._at:
            self._at = name
            self._send("working", task=name)

    def _look_up(self) -> None:
        keys = self._ledger.keys()
        batches = [keys[start : start + LOOKUP_KEYS] for start in range(0, len(keys), LOOKUP_KEYS)]
        for batch in batches:
            self._send("lookup", keys=batch)
        for _ in batches:
            self._await("found")

    def _plan(self) -> None:
        self._working(None)
        for chunk in Planner(self._job, self._lm, self._ledger).chunks():
            self._send(**chunk)
        self._send("planned")

    def _score_as_answers_come(self) -> None:
        self._score_complete()
        self._show_progress(self._tasks)
        while self._ledger.is_open():
            frame = self._next()
            self._show_progress(self._touched_by(frame))
            self._score_complete()

    def _await(self, kind: str) -> Frame:
        """The next frame of this kind; what comes before it is taken in."""
        while (frame := self._next())["type"] != kind:
            pass
        return frame

    def _next(self) -> Frame:
        """The next frame, taken in."""
        self._working(None)
        frame = self._inbox.next()
        match frame["type"]:
            case "found" | "responses":
                for key, value in frame["responses"]:
                    self._ledger.resolve(key, value)
                self._ledger.pending.update(frame.get("pending", ()))
            case "request_failed":
                self._take_failure(frame["key"], frame["error"])
        return frame

    def _take_failure(self, key: bytes, error: Failure) -> None:
        if self._ledger.is_failed(key):  # it was given up meanwhile, with the others that it fails like
            return
        self._ledger.fail(key, error)
        if gone := self._shared.after(key, error):
            self._send("withdraw", keys=gone)

    def _score_complete(self) -> None:
        for name in self._ledger.take_complete():
            if failed := self._ledger.failed_documents(self._tasks[name].instances):
                self._leave_out(name, failed)
            if name in self._tasks:
                self._score(name)

    def _leave_out(self, name: str, failed: Mapping[int, Failure]) -> None:
        """Go on without the documents that have no answer, if there are others."""
        with self._at_its_own_risk(name):
            gaps = leave_out(name, self._tasks[name], failed, self._chosen[name])
            self._gaps[name] = gaps
            self._send_rows(name, [(line, None) for line in gaps.lines])
            if gaps.whole:
                self._fail(name, gaps.error)
            else:
                _log.warning(gaps.warning)

    def _score(self, name: str) -> None:
        with self._at_its_own_risk(name):
            results, drew = self._scorer.score(name, self._tasks[name], self._limits[name])
            self._drawers.append(name) if drew else self._finish(name, results)

    def _score_drawers(self) -> None:
        for name in sorted(self._drawers, key=self._order.index):
            with self._at_its_own_risk(name):
                self._finish(name, self._scorer.score_in_turn(name, self._tasks[name], self._limits[name]))

    def _finish(self, name: str, results: scoring.EvalResults) -> None:
        scored = self._report.add(name, results)
        self._send_rows(name, scored.rows)
        error = self._gaps[name].error if name in self._gaps else None
        self._send("task_finished", task=name, metrics=scored.metrics, error=error)

    def _send_rows(self, name: str, rows: list[tuple[str, bool | None]]) -> None:
        if not self._job.spec.keeps_samples:
            return
        for some in portions(rows):
            self._send("sample_rows", task=name, rows=some)

    def _fail(self, name: str, error: dict[str, str]) -> None:
        _log.error("task %s failed: %s", name, error["message"])
        self._tasks.pop(name, None)
        self._failures[name] = error
        if name not in self._job.given_up:  # the coordinator gave it up, and has told it
            self._send("task_failed", task=sayable(name), error=error)

    def _send_results(self) -> None:
        if not self._tasks:
            raise all_failed(self._failures)
        self._send("engine")
        facts = self._await("engine")["facts"] or {}
        lost = loading.lost_groups(self._groups, self._failures)
        warnings = [gaps.warning for gaps in self._gaps.values() if gaps.task in self._tasks]
        warnings += self._lm.template_notes(self._job.spec.apply_chat_template)
        self._send(
            "results",
            document=self._report.document(
                self._order, self._groups, lost=lost, warnings=warnings, facts=facts
            ),
            model_name_sanitized=self._report.model_name_sanitized,
            date=file_date(),
        )

    def _touched_by(self, frame: Frame) -> set[str]:
        """Tasks that a frame brought answers for."""
        return {task for key, _ in frame.get("responses", ()) for task in self._ledger.askers(key)}

    def _show_progress(self, names: Iterable[str]) -> None:
        """Say how far these tasks are, at most once a second each."""
        now = time.monotonic()
        for name in names:
            if now - self._progress_at[name] >= PROGRESS_SECONDS:
                self._progress_at[name] = now
                self._send("task_progress", task=name, done=self._ledger.done(name))

    def _phase(self, phase: str) -> None:
        self._send("phase", phase=phase)

    def _send(self, type: str, **content: Any) -> None:  # noqa: A002 - its name in frames
        if os.getpid() != self._pid:  # a copy that task code forked and let go on
            os._exit(0)
        try:
            self._connection.send({"type": type, **content})
        except OSError as error:
            raise CoordinatorGoneError from error
