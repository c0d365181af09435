"""Every question of a job: its name, who asked it, and its answer."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgpack
from lm_eval.api.instance import Instance

from workers.harness_child.errors import TASK_ERROR, TaskFailedError
from workers.harness_child.lm_eval.askable import GENERATE, LOGLIKELIHOOD, ROLLING
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.tokens import encode, rolling_windows
from workers.protocol.harness import Job
from workers.protocol.payload import DRAW_BYTES

T = TypeVar("T")

Key = bytes
Failure = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """One request: (context, continuation), a rolling Pair of tokens, or (context, settings)."""

    key: Key
    kind: str
    args: tuple[Any, ...]


def settings_of(instances: Iterable[Instance]) -> list[str]:
    """The different generation settings of a task's requests, each as JSON."""
    asked = (instance for instance in instances if instance.request_type == GENERATE)
    return list(dict.fromkeys(json.dumps(instance.args[1]) for instance in asked))


def is_sampled(settings: Mapping[str, Any]) -> bool:
    """Whether an answer is drawn at random, so that it must not serve another job; as lm-eval decides it.

    Its `normalize_gen_kwargs` always says so to the model, whose own generation_config.json is not asked.
    """
    asked = settings.get("do_sample")
    return float(settings.get("temperature") or 0.0) > 0.0 if asked is None else bool(asked)


def groups_contexts(job: Job, lm: BrokerLM) -> bool:
    """Whether the engine computes log-likelihoods of equal context + continuation[:-1] only once."""
    if job.engine.backend != "hf":
        return True
    return lm.backend == "causal" and bool(job.engine.args.get("logits_cache", True))


class Asking:
    """Turns a task's instances, one task after the other, into questions.

    The n-th occurrence of an equal question is a question of its own, because it takes a row of its own in
    the engine's batches and shifts the rest. Only log-likelihoods that the engine would group are asked once.
    What is drawn goes by the prompt and its occurrence in its own task: no other task of the job changes a sample,
    nor does `temperature: 1` written as `1.0`.
    """

    def __init__(self, job: Job, lm: BrokerLM) -> None:
        self._job = job
        self._lm = lm
        self._once = groups_contexts(job, lm)
        self._occurrences: Counter[Key] = Counter()

    def ask(self, instances: Sequence[Instance]) -> list[tuple[Instance, list[list[Question]]]]:
        """For each instance of a task, which can be asked, per repeat, its questions: one, or a rolling text's windows.

        Where that fails, none of them counts as asked.
        """
        asked: list[tuple[Instance, list[list[Question]]]] = []
        texts = [instance.args[0] for instance in instances if instance.request_type == ROLLING]
        encoded = encode(self._lm, texts)
        new: Counter[Key] = Counter()
        drawn: Counter[str] = Counter()
        for instance in instances:
            parts = self._parts(instance, encoded)
            repeats = [list(self._numbered(instance, parts, new, drawn)) for _ in range(instance.repeats)]
            asked.append((instance, repeats))
        self._occurrences.update(new)
        return asked

    def _parts(self, instance: Instance, encoded: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        match instance.request_type:
            case "loglikelihood":
                self._refuse_thinking()
                return [instance.args]
            case "loglikelihood_rolling":
                return list(rolling_windows(self._lm, encoded[instance.args[0]]))
            case "generate_until":
                return [instance.args]
            case kind:
                raise TaskFailedError(TASK_ERROR, f"requests of kind {kind!r} cannot be asked")

    def _numbered(
        self,
        instance: Instance,
        parts: Iterable[tuple[Any, ...]],
        new: Counter[Key],
        drawn: Counter[str],
    ) -> Iterator[Question]:
        kind = instance.request_type
        for args in parts:
            content = _content(kind, args)
            sampled = kind == GENERATE and is_sampled(args[1])
            salt = self._job.id if sampled else self._job.salt
            first = _hash(kind, content, 0, salt)
            if kind == LOGLIKELIHOOD and self._once:
                yield Question(first, kind, args)
                continue
            occurrence = self._occurrences[first] + _next(new, first)
            key = _hash(kind, content, occurrence, salt) if occurrence else first
            if sampled:
                key = _hash(args[0], _next(drawn, args[0]))[:DRAW_BYTES] + key[DRAW_BYTES:]
            yield Question(key, kind, args)

    def _refuse_thinking(self) -> None:
        if self._job.engine.args.get("enable_thinking"):
            raise TaskFailedError(TASK_ERROR, "enable_thinking works with generative tasks only")


class Ledger:
    """Which questions are open, by task."""

    def __init__(self) -> None:
        self.questions: dict[str, dict[Key, Question]] = defaultdict(dict)
        self.pending: set[Key] = set()
        self.totals: dict[str, int] = {}
        self._asked: dict[int, list[list[Key]]] = {}
        self._askers: dict[Key, tuple[str, ...]] = {}
        self._open: dict[str, set[Key]] = {}
        self._answers: dict[Key, Any] = {}
        self._failures: dict[Key, Failure] = {}
        self._settings: list[tuple[str, Any]] = []

    def enter(self, task: str, asked: Iterable[tuple[Instance, list[list[Question]]]]) -> None:
        """Take in all questions of a task."""
        keys: set[Key] = set()
        for instance, repeats in asked:
            self._asked[id(instance)] = [[question.key for question in parts] for parts in repeats]
            for question in (question for parts in repeats for question in parts):
                self.questions[question.kind].setdefault(question.key, question)
                keys.add(question.key)
        for key in keys:
            self._askers[key] = (*self._askers.get(key, ()), task)
        self._open[task] = keys
        self.totals[task] = len(keys)

    def keys(self) -> list[Key]:
        """All keys, in the order the questions were asked."""
        return [key for questions in self.questions.values() for key in questions]

    def resolve(self, key: Key, value: object) -> None:
        """Note an answer; the first one stands, and one nobody asked for is passed over."""
        self._answers.setdefault(key, value)
        self._close(key)

    def fail(self, key: Key, failure: Failure) -> None:
        """Note that a question has no answer."""
        self._failures[key] = failure
        self._close(key)

    def is_settled(self, key: Key) -> bool:
        """Whether a question is answered, failed, or waits in a chunk that exists already."""
        return key in self._answers or key in self._failures or key in self.pending

    def is_answered(self, key: Key) -> bool:
        """Whether a question is answered."""
        return key in self._answers

    def is_failed(self, key: Key) -> bool:
        """Whether a question has no answer and gets none."""
        return key in self._failures

    def setting(self, key: Key) -> int:
        """The number of what a question's answer depends on beside its text: its kind, and how it is generated."""
        question = next(asked[key] for asked in self.questions.values() if key in asked)
        setting = (question.kind, question.args[1] if question.kind == GENERATE else None)
        if setting not in self._settings:
            self._settings.append(setting)
        return self._settings.index(setting)

    def alike(self, task: str, key: Key) -> list[Key]:
        """The task's questions of the same setting."""
        setting = self.setting(key)
        return [
            other for other in self.keys() if task in self.askers(other) and self.setting(other) == setting
        ]

    def askers(self, key: Key) -> tuple[str, ...]:
        """The tasks that need the answer."""
        return self._askers.get(key, ())

    def is_open(self) -> bool:
        """Whether a task still waits for an answer or to be taken."""
        return bool(self._open)

    def done(self, task: str) -> int:
        """How many of the task's questions are closed."""
        return self.totals[task] - len(self._open.get(task, ()))

    def take_complete(self) -> list[str]:
        """Tasks without an open question, each told once."""
        complete = [task for task, keys in self._open.items() if not keys]
        for task in complete:
            del self._open[task]
        return complete

    def answer(self, instance: Instance, repeat: int) -> object:
        """The answer in the shape that lm-eval's models give."""
        values = [self._answers[key] for key in self._asked[id(instance)][repeat]]
        match instance.request_type:
            case "loglikelihood":
                return float(values[0][0]), bool(values[0][1])
            case "loglikelihood_rolling":
                return sum(logprob for logprob, _ in values)
            case _:
                return values[0]

    def failed_documents(self, instances: Iterable[Instance]) -> dict[int, Failure]:
        """Documents with a question that has no answer, each with the first reason."""
        failed: dict[int, Failure] = {}
        for instance in instances:
            for key in (key for parts in self._asked[id(instance)] for key in parts):
                if key in self._failures:
                    failed.setdefault(instance.doc_id, self._failures[key])
        return failed

    def _close(self, key: Key) -> None:
        for task in self.askers(key):
            if task in self._open:
                self._open[task].discard(key)


def _hash(*parts: object) -> Key:
    return hashlib.sha256(msgpack.packb(parts)).digest()


def _next(counts: Counter[T], item: T) -> int:
    """How often it was counted before."""
    counts[item] += 1
    return counts[item] - 1


def _content(kind: str, args: tuple[Any, ...]) -> list[Any]:
    """What a key is the hash of."""
    match kind:
        case "loglikelihood_rolling":
            return [tokens.tolist() for tokens in args]
        case "generate_until":
            return [args[0], json.dumps(args[1], sort_keys=True, default=str)]
        case _:
            return list(args)
