"""The requests of a job, each under the name that its answer is stored by."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgpack
from lm_eval.api.instance import Instance

from workers.harness_child.errors import TASK_ERROR, TaskFailedError
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.harness_child.lm_eval.tokens import encode, rolling_windows
from workers.protocol.harness import EvaluateOrder
from workers.protocol.payload import DRAW_BYTES, RequestKind

T = TypeVar("T")

Key = bytes


@dataclass(frozen=True, slots=True)
class Request:
    """(context, continuation), a rolling Pair of tokens, or (context, settings)."""

    key: Key
    kind: RequestKind
    args: tuple[Any, ...]


Asked = tuple[Instance, list[list[Request]]]
"""An instance of a task, and for each of its repeats the requests that its answer is made of."""


def settings_of(instances: Iterable[Instance]) -> list[str]:
    """The different generation settings of a task's requests, each as JSON."""
    asked = (instance for instance in instances if instance.request_type == RequestKind.GENERATE)
    return list(dict.fromkeys(json.dumps(instance.args[1]) for instance in asked))


def groups_contexts(order: EvaluateOrder, lm: BrokerLM) -> bool:
    """Whether the engine computes log-likelihoods of equal context + continuation[:-1] only once."""
    switch = order.rules.grouped
    return switch is None or (lm.backend == "causal" and bool(order.engine.args.get(switch, True)))


class RequestNames:
    """Turns a task's instances, one task after the other, into requests.

    The n-th occurrence of an equal request is a request of its own, because it takes a row of its own in
    the engine's batches and shifts the rest. Only log-likelihoods that the engine would group are asked once, and
    all that is not drawn where an engine answers every request by itself.
    What is drawn goes by the prompt and its occurrence in its own task: no other task of the job changes a sample,
    nor does `temperature: 1` written as `1.0`.
    """

    def __init__(self, order: EvaluateOrder, lm: BrokerLM) -> None:
        self._order = order
        self._lm = lm
        self._grouped = groups_contexts(order, lm)
        self._occurrences: Counter[Key] = Counter()

    def of(self, instances: Sequence[Instance]) -> list[Asked]:
        """For each instance of a task, which can be asked, per repeat, its requests: one, or a rolling text's windows.

        Where that fails, none of them counts as asked.
        """
        asked: list[Asked] = []
        texts = [instance.args[0] for instance in instances if instance.request_type == RequestKind.ROLLING]
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
    ) -> Iterator[Request]:
        kind = RequestKind(instance.request_type)
        for args in parts:
            content = _content(kind, args)
            sampled = kind is RequestKind.GENERATE and self._lm.rules.is_sampled(args[1])
            salt = self._order.job_id if sampled else self._order.salt
            first = _hash(kind, content, 0, salt)
            if not sampled and self._lm.rules.once(kind, grouped=self._grouped):
                yield Request(first, kind, args)
                continue
            occurrence = self._occurrences[first] + _next(new, first)
            key = _hash(kind, content, occurrence, salt) if occurrence else first
            if sampled:
                key = _hash(args[0], _next(drawn, args[0]))[:DRAW_BYTES] + key[DRAW_BYTES:]
            yield Request(key, kind, args)

    def _refuse_thinking(self) -> None:
        if self._order.engine.args.get("enable_thinking"):
            raise TaskFailedError(TASK_ERROR, "enable_thinking works with generative tasks only")


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
