"""Chunks for the questions that have no answer yet."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from workers.harness_child.errors import TASK_ERROR, said, sayable
from workers.harness_child.lm_eval.askable import GENERATE, LOGLIKELIHOOD, ROLLING
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.cutting import (
    Cut,
    Pair,
    Prompt,
    cut_loglikelihoods,
    cut_missing,
    cut_prompts,
    cut_windows,
)
from workers.harness_child.lm_eval.requests import (
    Ledger,
    Question,
    groups_contexts,
    is_sampled,
)
from workers.harness_child.lm_eval.tokens import encode, encode_pairs
from workers.protocol.frames import Frame
from workers.protocol.harness import Job
from workers.protocol.payload import pack_requests

Cutter = Callable[[Sequence[int]], list[Cut]]


@dataclass(frozen=True)
class _Sheet:
    """Questions of one kind that an engine can answer, what it gets for each, and how to cut them."""

    questions: Sequence[Question]
    items: Callable[[int], object]
    cut: Cutter


class Planner:
    """Cuts what a ledger misses into chunks."""

    def __init__(self, job: Job, lm: BrokerLM, ledger: Ledger) -> None:
        self._job = job
        self._lm = lm
        self._ledger = ledger
        self._batch_size = _batch_size(job.spec.batch_size, job.spec.max_batch_size)
        whole_batches = job.engine.backend == "hf" and isinstance(self._batch_size, int)
        self._rows = self._batch_size if whole_batches and isinstance(self._batch_size, int) else 1

    def chunks(self) -> list[Frame]:
        """All chunk frames, the longest first; questions no engine could answer fail here."""
        frames: list[Frame] = []
        for kind in (LOGLIKELIHOOD, ROLLING, GENERATE):
            questions = list(self._ledger.questions[kind].values())
            if not all(self._ledger.is_settled(question.key) for question in questions):
                frames += self._chunks_of(self._sheet(kind, questions))
        frames.sort(key=lambda frame: -frame["cost"])
        return frames

    def _sheet(self, kind: str, questions: list[Question]) -> _Sheet:
        match kind:
            case "loglikelihood":
                return self._loglikelihoods(questions)
            case "loglikelihood_rolling":
                return self._windows(questions)
            case _:
                return self._generations(questions)

    def _loglikelihoods(self, questions: list[Question]) -> _Sheet:
        questions, pairs = self._made(
            questions, lambda some: encode_pairs(self._lm, [question.args for question in some])
        )
        questions, pairs = self._possible(questions, pairs, self._fault_of_pair)
        grouped = groups_contexts(self._job, self._lm)
        return _Sheet(
            questions,
            lambda position: _as_lists(pairs[position]),
            lambda positions: cut_loglikelihoods([pairs[p] for p in positions], self._rows, grouped=grouped),
        )

    def _windows(self, questions: list[Question]) -> _Sheet:
        windows = [Pair(*question.args) for question in questions]
        return _Sheet(
            questions,
            lambda position: _as_lists(windows[position]),
            lambda positions: cut_windows([windows[p] for p in positions], self._rows),
        )

    def _generations(self, questions: list[Question]) -> _Sheet:
        questions, prompts = self._made(questions, self._prompts)
        questions, prompts = self._possible(questions, prompts, self._fault_of_prompt)
        return _Sheet(
            questions,
            lambda position: prompts[position].text,
            lambda positions: cut_prompts([prompts[p] for p in positions], self._rows),
        )

    def _made(
        self, questions: list[Question], make: Callable[[list[Question]], list[Any]]
    ) -> tuple[list[Question], list[Any]]:
        """What is sent for each question; where that cannot be made for all, those fail for which it cannot."""
        try:
            return questions, make(questions)
        except Exception:  # noqa: BLE001 - a tokenizer may choke on any text
            kept = [(question, made) for question in questions for made in self._made_alone(question, make)]
            return [question for question, _ in kept], [made for _, made in kept]

    def _made_alone(self, question: Question, make: Callable[[list[Question]], list[Any]]) -> list[Any]:
        try:
            return make([question])
        except Exception as error:  # noqa: BLE001 - likewise
            self._ledger.fail(question.key, {"code": TASK_ERROR, "message": sayable(said(error))})
            return []

    def _prompts(self, questions: list[Question]) -> list[Prompt]:
        tokens = encode(self._lm, [question.args[0] for question in questions])
        return [self._prompt(len(tokens[question.args[0]]), *question.args) for question in questions]

    def _prompt(self, length: int, text: str, settings: dict[str, Any]) -> Prompt:
        return Prompt(text, length, settings, float(length + self._generated(settings)))

    def _generated(self, settings: dict[str, Any]) -> int:
        return int(normalize_gen_kwargs(settings, self._lm.max_gen_toks)["max_gen_toks"])

    def _possible(
        self, questions: list[Question], items: list[Any], fault_of: Callable[[Any], str | None]
    ) -> tuple[list[Question], list[Any]]:
        """Leave out and fail what HFLM would stop the whole run for."""
        faults = [fault_of(item) for item in items]
        for question, fault in zip(questions, faults, strict=True):
            if fault is not None:
                self._ledger.fail(question.key, {"code": TASK_ERROR, "message": fault})
        kept = [position for position, fault in enumerate(faults) if fault is None]
        return [questions[position] for position in kept], [items[position] for position in kept]

    def _fault_of_pair(self, pair: Pair) -> str | None:
        if not pair.context or not pair.continuation:
            return f"the {'continuation' if pair.context else 'context'} has no tokens"
        if len(pair.continuation) > self._lm.max_length:
            return (
                f"a continuation of {len(pair.continuation)} tokens exceeds max_length {self._lm.max_length}"
            )
        return None

    def _fault_of_prompt(self, prompt: Prompt) -> str | None:
        room = self._lm.max_length - self._generated(dict(prompt.settings))
        if self._job.engine.backend == "hf" and self._lm.backend == "causal" and room <= 0:
            return f"max_gen_toks leaves no room for a prompt within max_length {self._lm.max_length}"
        longest = prompt.settings.get("max_length")
        if longest and self._lm.backend == "causal" and min(prompt.length, room) >= longest:
            return f"generation_kwargs.max_length {longest} counts the prompt too, which has {prompt.length} tokens"
        return None

    def _chunks_of(self, sheet: _Sheet) -> list[Frame]:
        settled = {
            position
            for position, question in enumerate(sheet.questions)
            if self._ledger.is_settled(question.key)
        }
        cuts = cut_missing(len(sheet.questions), settled, sheet.cut)
        return [self._frame(sheet, cut) for cut in cuts]

    def _frame(self, sheet: _Sheet, cut: Cut) -> Frame:
        questions = [sheet.questions[position] for position in cut.positions]
        settings = questions[0].args[1] if questions[0].kind == GENERATE else None
        keys = [question.key for question in questions]
        return {
            "type": "chunk",
            "kind": questions[0].kind,
            "batch_size": self._batch_size,
            "gen_kwargs": settings,
            "seed": self._seed() if settings is not None and is_sampled(settings) else None,
            "cost": cut.cost,
            "keys": keys,
            "tasks": dict(Counter(task for key in keys for task in self._ledger.askers(key))),
            "payload": pack_requests([sheet.items(position) for position in cut.positions]),
        }

    def _seed(self) -> int:
        """From the seed that lm-eval gives torch, which draws its samples; without one each job has its own."""
        seed = self._job.spec.seed[2]
        digest = hashlib.sha256(self._job.id.encode() if seed is None else b"%d" % seed).digest()
        return int.from_bytes(digest[:8], "big") >> 1


def _batch_size(given: int | str, most: int | None) -> int | str:
    """As chunks carry it: a number, `auto`, or `auto max N` where the job bounds what is found."""
    if str(given).isdigit():
        return int(given)
    return str(given) if most is None else f"{given} max {most}"


def _as_lists(pair: Pair) -> list[list[int]]:
    return [pair.context.tolist(), pair.continuation.tolist()]
