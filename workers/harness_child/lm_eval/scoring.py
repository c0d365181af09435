"""Score tasks one by one, with the numbers that scoring them together would give."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api.task import Task
from lm_eval.evaluator import evaluate
from lm_eval.utils import set_torch_seed

from app.workloads.lm_eval.spec import LmEvalSpec
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.loading import chosen

EvalResults = dict[str, Any]


@dataclass(frozen=True)
class Randomness:
    """The state of the two global generators that task code may draw from."""

    python: tuple[Any, ...]
    numpy: tuple[Any, ...]

    @classmethod
    def now(cls) -> Randomness:
        """As it is."""
        name, words, *rest = np.random.get_state()
        return cls(random.getstate(), (name, tuple(words), *rest))

    def restore(self) -> None:
        """Go back to it."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)


def seed(spec: LmEvalSpec) -> None:
    """Seed the global generators as simple_evaluate does; None leaves one as it is."""
    if spec.seed[0] is not None:
        random.seed(spec.seed[0])
    if spec.seed[1] is not None:
        np.random.seed(spec.seed[1])
    if spec.seed[2] is not None:
        set_torch_seed(spec.seed[2])


class Scorer:
    """Scores built tasks by lm-eval's own `evaluate`, one at a time, in any order.

    lm-eval scores all tasks in order. That matters only to tasks that draw random numbers while they are
    scored: `score` recognises them, and `score_in_turn` scores them once more, in order, when all are ready.
    """

    def __init__(self, lm: BrokerLM, spec: LmEvalSpec) -> None:
        self._lm = lm
        self._spec = spec
        self._built = self._turn = Randomness.now()

    def score(self, name: str, task: Task, limit: int | None) -> tuple[EvalResults, bool]:
        """Results of a task whose requests are all answered, and whether it drew random numbers."""
        self._built.restore()
        results = self._evaluate(name, task, limit)
        return results, Randomness.now() != self._built

    def score_in_turn(self, name: str, task: Task, limit: int | None) -> EvalResults:
        """Results from the random state that the task scored in turn before this one left."""
        self._turn.restore()
        results = self._evaluate(name, task, limit)
        self._turn = Randomness.now()
        return results

    def _evaluate(self, name: str, task: Task, limit: int | None) -> EvalResults:
        spec = self._spec
        _keep_requests(task)
        documents = chosen(name, spec)
        results: EvalResults = evaluate(
            lm=self._lm,
            task_dict={"tasks": {name: task}},
            limit=limit,
            samples={name: documents} if documents else None,
            bootstrap_iters=spec.bootstrap_iters,
            log_samples=spec.keeps_samples,
            confirm_run_unsafe_code=spec.confirm_run_unsafe_code,
        )
        return results


def _keep_requests(task: Task) -> None:
    """`evaluate` would build the requests anew, and add its answers to those of an earlier score."""
    task.build_all_requests = lambda **_: None
    for instance in task.instances:
        instance.resps.clear()
        instance.filtered_resps.clear()
