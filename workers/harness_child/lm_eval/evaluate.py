"""The story of a job: prepare, ask, wait, score, report."""

from __future__ import annotations

import json
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
    NAMED_TASKS,
    TASK_ERROR,
    CodedError,
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
from workers.harness_child.lm_eval.chunking import Chunking
from workers.harness_child.lm_eval.intake import Intake
from workers.harness_child.lm_eval.ledger import Ledger
from workers.harness_child.lm_eval.link import Link
from workers.harness_child.lm_eval.provenance import of_task, provenance
from workers.harness_child.lm_eval.quality import Replies
from workers.harness_child.lm_eval.requests import RequestNames, settings_of
from workers.harness_child.lm_eval.results import Report, file_date
from workers.harness_child.lm_eval.unanswered import Gaps, leave_out
from workers.harness_child.lm_eval.writing import portions
from workers.protocol.channel import Channel
from workers.protocol.frames import Connection
from workers.protocol.harness import (
    ORDERS,
    AllCut,
    EngineSettled,
    EvaluateOrder,
    FactsTold,
    FailureTold,
    Found,
    JobFailed,
    JudgeSettings,
    Prepared,
    Responses,
    Results,
    SampleRows,
    SampleTold,
    ScoringBegun,
    SettingsJudged,
    TaskFailed,
    TaskFinished,
    TaskProgress,
    TellFacts,
    ToHarness,
)

PROGRESS_SECONDS = 1.0

CODE_MAY_RUN = "HF_ALLOW_CODE_EVAL"
"""What `evaluate` wants to see set before its code_eval runs; the job has confirmed it."""

GREEDY = (
    "neither do_sample nor temperature is set: generated greedily, as lm-eval means it, where its vllm model samples at"
    " temperature 1"
)

_log = logging.getLogger(__name__)


def serve(connection: Connection) -> int:
    """Evaluate the one job that is ordered on a connection; the exit status of the process."""
    templates.install()
    logging.raiseExceptions = False  # task code may have closed what is logged to
    channel: Channel[JobFailed, EvaluateOrder] = Channel(connection, ORDERS)
    order = channel.receive()
    if order is None:
        return 1
    if order.spec.confirm_run_unsafe_code:
        os.environ[CODE_MAY_RUN] = "1"  # before a task's file asks for such a metric
    try:
        Evaluation(order, Link(connection)).run()
    except CoordinatorGoneError:
        return 1
    except BaseException as error:  # noqa: BLE001 - whatever it is, the coordinator learns it
        told = described(error, INTERNAL)
        known = isinstance(error, CodedError)  # where in evalq it was raised tells nobody anything
        _log.error("the job failed: %s", told.message, exc_info=None if known else error)
        channel.send(JobFailed(told))
        return 1
    return 0


class Evaluation:
    """One job, from its order to its results."""

    def __init__(self, order: EvaluateOrder, link: Link) -> None:
        self._order = order
        self._link = link
        self._ledger = Ledger()
        self._intake = Intake(link, self._ledger)
        self._faults: dict[str, FailureTold] = {}
        self._chosen: dict[str, list[int] | None] = {}
        self._limits: dict[str, int | None] = {}
        self._gaps: dict[str, Gaps] = {}
        self._drawers: list[str] = []
        self._judged: dict[str, tuple[str, ...]] = {}
        self._progress_at: dict[str, float] = defaultdict(float)
        self._known: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        """Send everything the coordinator is owed, ending with the results."""
        if faults := self._order.spec.faults():
            raise JobFailedError(TASK_ERROR, "; ".join(faults))
        self._prepare()
        self._intake.look_up()
        self._cut()
        self._score_as_answers_come()
        self._link.tell(ScoringBegun())
        self._score_drawers()
        self._send_results()

    def _prepare(self) -> None:
        order = self._order
        self._lm = BrokerLM(order.engine, self._ledger.answer, order.gguf_python, order.rules.shapes)
        engine = self._lm.rules.engine
        if engine != order.engine:
            self._link.tell(EngineSettled(engine.args))
        template = self._lm.choose_template(order.spec.apply_chat_template)
        self._report = Report(order, self._lm, chat_template=template)
        scoring.seed(order.spec)
        self._load()
        self._build()
        self._scorer = scoring.Scorer(self._lm, order.spec)
        self._link.tell(
            Prepared(
                fingerprint=fingerprint(engine, order.rules),
                totals=tuple((name, self._ledger.totals[name]) for name in self._tasks),
                provenance=provenance(
                    order, {name: self._known[name] for name in self._tasks}, self._lm.template
                ),
            )
        )

    def _load(self) -> None:
        try:
            loaded = loading.load(self._order, self._link.working)
        except ValueError as error:
            raise JobFailedError(TASK_ERROR, str(error)) from error
        self._tasks: dict[str, Task] = loaded.tasks
        self._groups = loaded.groups
        self._names = list(loaded.tasks)
        for name, failure in loaded.failures.items():
            self._fail(name, described(failure, loading_code(failure)))
        for name, task in list(self._tasks.items()):
            with self._at_its_own_risk(name):
                loading.configure(task, self._order.spec)

    def _build(self) -> None:
        names = RequestNames(self._order, self._lm)
        for name, task in list(self._tasks.items()):
            with self._at_its_own_risk(name, loading_code):
                self._chosen[name] = loading.chosen(name, self._order.spec)
                self._limits[name] = loading.build(name, task, self._order.spec, self._lm)
                check(task.instances, self._chosen[name])
                settings = settings_of(task.instances)
                self._known[name] = of_task(task) | self._noted(settings)
                self._judge(settings)
                self._ledger.enter(name, names.of(task.instances))
        if not self._tasks:
            raise all_failed(self._faults)

    def _noted(self, settings: list[str]) -> dict[str, Any]:
        greedy = any(self._lm.rules.greedy_by_default(json.loads(text)) for text in settings)
        return {"greedy_by_default": True} if greedy else {}

    def _judge(self, settings: list[str]) -> None:
        """Let the coordinator, which knows the backend, look at settings that no task had yet; TaskFailedError."""
        for text in settings:
            if text not in self._judged:
                self._link.tell(JudgeSettings(text))
                self._judged[text] = self._intake.wait_for(SettingsJudged).faults
            if self._judged[text]:
                raise TaskFailedError(TASK_ERROR, "; ".join(self._judged[text]))

    @contextmanager
    def _at_its_own_risk(
        self, name: str, code: Callable[[BaseException], str] = lambda _: TASK_ERROR
    ) -> Iterator[None]:
        """What the code of a task does here fails that task alone; the coordinator knows whose code it is."""

        def failed(error: BaseException) -> None:
            self._fail(name, described(error, code(error), self._chosen.get(name)))

        self._link.working(name)
        with caught(failed):
            yield

    def _cut(self) -> None:
        self._link.working(None)
        chunking = Chunking(self._order, self._lm, self._ledger)
        for chunk in chunking.chunks():
            self._link.tell(chunk)
        self._link.tell(AllCut(tuple(sorted(chunking.lengths.items()))))

    def _score_as_answers_come(self) -> None:
        self._score_complete()
        self._show_progress(self._tasks)
        while self._ledger.is_open():
            self._show_progress(self._touched_by(self._intake.next()))
            self._score_complete()

    def _score_complete(self) -> None:
        for name in self._ledger.take_complete():
            if failed := self._ledger.failed_documents(self._tasks[name].instances):
                self._leave_out(name, failed)
            if name in self._tasks:
                self._score(name)

    def _leave_out(self, name: str, failed: Mapping[int, FailureTold]) -> None:
        """Go on without the documents that have no answer, if there are others."""
        with self._at_its_own_risk(name):
            gaps = leave_out(name, self._tasks[name], failed, self._chosen[name])
            self._gaps[name] = gaps
            self._send_rows(name, [SampleTold(line) for line in gaps.lines])
            if gaps.whole:
                self._fail(name, gaps.fault)
            else:
                _log.warning(gaps.warning)

    def _score(self, name: str) -> None:
        with self._at_its_own_risk(name):
            results, drew = self._scorer.score(name, self._tasks[name], self._limits[name])
            self._drawers.append(name) if drew else self._finish(name, results)

    def _score_drawers(self) -> None:
        for name in sorted(self._drawers, key=self._names.index):
            with self._at_its_own_risk(name):
                self._finish(name, self._scorer.score_in_turn(name, self._tasks[name], self._limits[name]))

    def _finish(self, name: str, results: scoring.EvalResults) -> None:
        replies, gaps = Replies(self._tasks[name], self._ledger), self._gaps.get(name)
        scored = self._report.add(name, results, replies.flags(self._chosen[name]))
        self._send_rows(name, scored.rows)
        quality = replies.quality(len(gaps.failed) if gaps else 0, self._lm.rules.generated)
        self._link.tell(TaskFinished(name, scored.metrics, gaps.fault if gaps else None, quality))

    def _send_rows(self, name: str, rows: list[SampleTold]) -> None:
        if not self._order.spec.keeps_samples:
            return
        for some in portions(rows):
            self._link.tell(SampleRows(name, tuple(some)))

    def _fail(self, name: str, fault: FailureTold) -> None:
        _log.error("task %s failed: %s", name, fault.message)
        self._tasks.pop(name, None)
        self._faults[name] = fault
        if name not in self._order.given_up:  # the coordinator gave it up, and has told it
            self._link.tell(TaskFailed(sayable(name), fault))

    def _send_results(self) -> None:
        if not self._tasks:
            raise all_failed(self._faults)
        self._link.tell(TellFacts())
        facts = self._intake.wait_for(FactsTold).facts or {}
        lost = loading.lost_groups(self._groups, self._faults)
        warnings = [gaps.warning for gaps in self._gaps.values() if gaps.task in self._tasks]
        warnings += self._lm.template_notes(self._order.spec.apply_chat_template)
        warnings += self._greedy_notes()
        document = self._report.document(self._names, self._groups, lost=lost, warnings=warnings, facts=facts)
        self._link.tell(Results(document, self._report.model_name_sanitized, file_date()))

    def _greedy_notes(self) -> list[str]:
        """Where lm-eval 0.4.13 draws, though it notes the opposite."""
        greedy = [name for name in self._tasks if self._known[name].get("greedy_by_default")]
        more = f" and {len(greedy) - NAMED_TASKS} more" if len(greedy) > NAMED_TASKS else ""
        return [f"{', '.join(greedy[:NAMED_TASKS])}{more}: {GREEDY}"] if greedy else []

    def _touched_by(self, message: ToHarness) -> set[str]:
        """Tasks that a message brought answers for."""
        responses = message.responses if isinstance(message, Found | Responses) else ()
        return {task for key, _, _ in responses for task in self._ledger.askers(key)}

    def _show_progress(self, names: Iterable[str]) -> None:
        """Say how far these tasks are, at most once a second each."""
        now = time.monotonic()
        for name in names:
            if now - self._progress_at[name] >= PROGRESS_SECONDS:
                self._progress_at[name] = now
                self._link.tell(TaskProgress(name, self._ledger.done(name)))
