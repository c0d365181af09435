"""The story of a job: prepare, ask, wait, score, report."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from lm_eval.api.task import Task

from workers.frames import Connection, Frame
from workers.harness_child import loading, scoring, templates
from workers.harness_child.broker_lm import BrokerLM
from workers.harness_child.errors import (
    INTERNAL,
    TASK_ERROR,
    CoordinatorGoneError,
    JobFailedError,
    TaskFailedError,
    all_failed,
    described,
    loading_code,
)
from workers.harness_child.fingerprint import fingerprint
from workers.harness_child.gaps import Gaps, leave_out
from workers.harness_child.job import Job
from workers.harness_child.planning import Planner
from workers.harness_child.provenance import provenance
from workers.harness_child.questions import Asking, Failure, Ledger, settings_of
from workers.harness_child.results import Report, file_date

LOOKUP_KEYS = 5000
SAMPLE_ROWS = 500
PROGRESS_SECONDS = 1.0

_log = logging.getLogger(__name__)


def serve(connection: Connection) -> int:
    """Evaluate the one job that is ordered on a connection; the exit status of the process."""
    templates.install()
    order = connection.receive()
    if order is None:
        return 1
    try:
        Evaluation(Job.parse(order), connection).run()
    except (CoordinatorGoneError, BrokenPipeError):
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, the coordinator learns it
        _log.exception("the job failed")
        connection.send({"type": "failed", "error": described(error, INTERNAL)})
        return 1
    return 0


class Evaluation:
    """One job, from its order to its results."""

    def __init__(self, job: Job, connection: Connection) -> None:
        self._job = job
        self._connection = connection
        self._inbox = _Inbox(connection)
        self._ledger = Ledger()
        self._failures: dict[str, dict[str, str]] = {}
        self._limits: dict[str, int | None] = {}
        self._gaps: dict[str, Gaps] = {}
        self._drawers: list[str] = []
        self._judged: dict[str, list[str]] = {}
        self._progress_at: dict[str, float] = defaultdict(float)

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
            provenance=provenance(job, self._tasks, template),
        )

    def _load(self) -> None:
        try:
            loaded = loading.load(self._job.spec, self._job.entries)
        except ValueError as error:
            raise JobFailedError(TASK_ERROR, str(error)) from error
        self._tasks: dict[str, Task] = loaded.tasks
        self._groups = loaded.groups
        self._order = list(loaded.tasks)
        for name, failure in loaded.failures.items():
            self._fail(name, described(failure, loading_code(failure)))
        for name, task in list(self._tasks.items()):
            try:
                loading.configure(task, self._job.spec)
            except Exception as error:  # noqa: BLE001 - a task's own class may run any code
                self._fail(name, described(error, TASK_ERROR))

    def _build(self) -> None:
        asking = Asking(self._job, self._lm)
        for name, task in list(self._tasks.items()):
            try:
                self._limits[name] = loading.build(name, task, self._job.spec, self._lm)
                self._judge(task)
                self._ledger.enter(name, asking.ask(task.instances))
            except Exception as error:  # noqa: BLE001 - templates and task code may raise anything
                self._fail(name, described(error, loading_code(error)))
        if not self._tasks:
            raise all_failed(self._failures)

    def _judge(self, task: Task) -> None:
        """Let the coordinator, which knows the backend, look at settings that no task had yet; TaskFailedError."""
        for text in settings_of(task.instances):
            if text not in self._judged:
                self._send("settings", settings=text)
                self._judged[text] = self._take_in(self._inbox.next())["faults"]
            if self._judged[text]:
                raise TaskFailedError(TASK_ERROR, "; ".join(self._judged[text]))

    def _look_up(self) -> None:
        keys = self._ledger.keys()
        batches = [keys[start : start + LOOKUP_KEYS] for start in range(0, len(keys), LOOKUP_KEYS)]
        for batch in batches:
            self._send("lookup", keys=batch)
        for _ in batches:
            self._await("found")

    def _plan(self) -> None:
        for chunk in Planner(self._job, self._lm, self._ledger).chunks():
            self._connection.send(chunk)
        self._send("planned")

    def _score_as_answers_come(self) -> None:
        self._score_complete()
        self._show_progress(self._tasks)
        while self._ledger.is_open():
            frame = self._take_in(self._inbox.next())
            self._show_progress(self._touched_by(frame))
            self._score_complete()

    def _await(self, kind: str) -> Frame:
        """The next frame of this kind; what comes before it is taken in."""
        while (frame := self._take_in(self._inbox.next()))["type"] != kind:
            pass
        return frame

    def _take_in(self, frame: Frame) -> Frame:
        match frame["type"]:
            case "found" | "responses":
                for key, value in frame["responses"]:
                    self._ledger.resolve(key, value)
                self._ledger.pending.update(frame.get("pending", ()))
            case "request_failed":
                self._ledger.fail(frame["key"], frame["error"])
        return frame

    def _score_complete(self) -> None:
        for name in self._ledger.take_complete():
            if failed := self._ledger.failed_documents(self._tasks[name].instances):
                self._leave_out(name, failed)
            if name in self._tasks:
                self._score(name)

    def _leave_out(self, name: str, failed: Mapping[int, Failure]) -> None:
        """Go on without the documents that have no answer, if there are others."""
        gaps = leave_out(name, self._tasks[name], failed, loading.chosen(name, self._job.spec))
        self._send_rows(name, [(line, None) for line in gaps.lines])
        if gaps.whole:
            self._fail(name, gaps.error)
        else:
            _log.warning(gaps.warning)
            self._gaps[name] = gaps

    def _score(self, name: str) -> None:
        try:
            results, drew = self._scorer.score(name, self._tasks[name], self._limits[name])
        except Exception as error:  # noqa: BLE001 - metrics are task code
            self._fail(name, described(error, TASK_ERROR))
        else:
            self._drawers.append(name) if drew else self._finish(name, results)

    def _score_drawers(self) -> None:
        for name in sorted(self._drawers, key=self._order.index):
            try:
                results = self._scorer.score_in_turn(name, self._tasks[name], self._limits[name])
            except Exception as error:  # noqa: BLE001 - metrics are task code
                self._fail(name, described(error, TASK_ERROR))
            else:
                self._finish(name, results)

    def _finish(self, name: str, results: scoring.EvalResults) -> None:
        self._send_rows(name, self._report.add(name, results))
        error = self._gaps[name].error if name in self._gaps else None
        self._send("task_finished", task=name, metrics=self._report.metrics(name), error=error)

    def _send_rows(self, name: str, rows: list[tuple[str, bool | None]]) -> None:
        if not self._job.spec.keeps_samples:
            return
        for start in range(0, len(rows), SAMPLE_ROWS):
            self._send("sample_rows", task=name, rows=rows[start : start + SAMPLE_ROWS])

    def _fail(self, name: str, error: dict[str, str]) -> None:
        _log.error("task %s failed: %s", name, error["message"])
        self._tasks.pop(name, None)
        self._failures[name] = error
        self._send("task_failed", task=name, error=error)

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

    def _send(self, kind: str, **content: Any) -> None:
        self._connection.send({"type": kind, **content})


class _Inbox:
    """Frames from the coordinator, read at once, so that it never waits while a task is scored."""

    def __init__(self, connection: Connection) -> None:
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._connection = connection
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Frame:
        """The next frame; raises CoordinatorGoneError at the end of the stream."""
        frame = self._frames.get()
        if frame is None:
            raise CoordinatorGoneError
        return frame

    def _read(self) -> None:
        frame: Frame | None = {}
        while frame is not None:
            try:
                frame = self._connection.receive()
            except OSError:
                frame = None
            self._frames.put(frame)
